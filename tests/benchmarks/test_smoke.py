"""The benchmarks run; what they measure is no business of a test."""

import shutil
import subprocess
import sys

import pytest


@pytest.mark.timeout(300)
@pytest.mark.parametrize("which", ["pull", "store"])
def test_a_benchmark_runs(which: str) -> None:
    if which == "pull" and not (shutil.which("aria2c") and shutil.which("nginx")):
        pytest.skip("compares with aria2c and nginx, which are not installed")
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{which}", "--quick"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hubsync" in done.stdout or "gc of" in done.stdout
