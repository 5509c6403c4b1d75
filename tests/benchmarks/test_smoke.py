"""The benchmarks run; what they measure is no business of a test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.commands import find

ASKED = {
    "pull": ["aria2c -x16 -s16", "aria2c --checksum", "hf download"],
    "serve": ["nginx", "idle", "nginx, the same answers kept"],
    "misses": ["the upstream itself"],
    "catalog": [],
    "mirrors": ["snapshot_download of each"],
    "store": ["tar -x, and one sync at the end", "a bare loop"],
}


NEEDED = {
    "pull": ("aria2c", "nginx", "openssl"),
    "serve": ("nginx", "openssl"),
    "misses": ("nginx", "openssl"),
}


@pytest.mark.parametrize("which", ASKED)
def test_a_benchmark_runs_and_cleans_up(which: str, tmp_path: Path) -> None:
    if missing := [one for one in NEEDED.get(which, ()) if not find(one)]:
        pytest.skip(f"compares with what is not installed: {', '.join(missing)}")
    found, work = tmp_path / "found.json", tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"benchmarks.{which}", "--quick"),
            *("--dir", str(work), "--json", str(found)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(work.iterdir())
    sections = json.loads(found.read_text())["groups"][which]
    against = {one["against"] for section in sections for one in section["comparisons"]}
    assert against >= set(ASKED[which])
    assert all(one["figures"] or one["comparisons"] or one["notes"] for one in sections)


def test_what_is_not_installed_is_named_with_its_package(tmp_path: Path) -> None:
    script = (
        "import sys; from benchmarks import commands, pull, command\n"
        "commands._SBIN = ()\n"
        "sys.exit(command.main([pull.GROUP]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--quick"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "nginx is not installed (Debian: apt install nginx-light)" in done.stdout
