"""Starting the drivers, and reading what they print."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pulling import clean_environment

_OWN_MOUNTS = ("unshare", "--mount", "--propagation", "private")
_IN_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 400 << 20

Report = Mapping[str, Any]


def kill_loop(
    folder: Path,
    kills: int,
    seed: int,
    *,
    victims: str = "first,second,sweeper",
    bug: str = "",
) -> Report:
    return _driver("kill_driver", folder, kills, seed, victims, bug)


def fail_syscalls(
    operation: str, *, share: str, calls: str = "", bug: str = ""
) -> Report:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    with _quick_folder() as folder:
        bench = folder / "bench"
        report = _driver("syscall_driver", bench, operation, share, calls, bug)
    if "why_not" in report:
        pytest.skip(f"processes may not be traced here: {report['why_not']}")
    return report


def cut_power(cuts: int, seed: int, *, bug: str = "") -> Report:
    for tool in ("unshare", "mkfs.ext4"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if subprocess.run(
        [*_OWN_MOUNTS, "true"], capture_output=True, check=False
    ).returncode:
        pytest.skip("no mount namespace of our own is permitted here")
    with _quick_folder() as folder:
        report = _driver("power_driver", folder, cuts, seed, bug, before=_OWN_MOUNTS)
    if "why_not" in report:
        pytest.skip(f"no file system may be mounted here: {report['why_not']}")
    return report


@contextmanager
def _quick_folder() -> Iterator[Path]:
    """In memory where there is room: what is tested there is not the disk."""
    stat = os.statvfs(_IN_MEMORY) if _IN_MEMORY.is_dir() else None
    has_room = stat is not None and stat.f_bavail * stat.f_frsize > _ROOM_BYTES
    place = _IN_MEMORY if has_room else None
    with tempfile.TemporaryDirectory(prefix="hubsync-crash-", dir=place) as name:
        yield Path(name)


def _driver(name: str, *args: object, before: tuple[str, ...] = ()) -> Report:
    done = subprocess.run(
        [*before, sys.executable, "-m", f"tests.crash.{name}", *map(str, args)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report: Report = json.loads(done.stdout.splitlines()[-1])
    return report
