"""The folder of a selftest, and what a killed one leaves."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from hubsync.model.errors import UsageError
from hubsync.ports.blobs import NoRoomError
from hubsync.selftest.scratch import MARK, clean_up, scratch_folder
from tests.upstream.disks import TinyDisk

# Forked as the workers are, one of them held for ever: whoever kills the first must
# leave nobody behind.
RUN = """
import signal, sys
from pathlib import Path
from hubsync.selftest.process import Worker, listen
from hubsync.selftest.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    worker = Worker.start("held", lambda mouth: (mouth.say("here"), signal.pause()))
    next(listen([worker], 60.0))
    worker.stop()
    print(folder, worker.pid, flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(place: Path) -> Iterator[tuple["subprocess.Popen[str]", Path, int]]:
    """A process with a scratch folder in *place* and a worker that is held."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder, worker = process.stdout.readline().split()
        try:
            yield process, Path(folder), int(worker)
        finally:
            process.kill()


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with running(tmp_path) as (process, folder, worker):
        (folder / "store").mkdir()
        (folder / "store" / "blob").write_bytes(b"x")
        # Known by this descriptor, whoever gets its number afterwards.
        held = os.pidfd_open(worker)
        process.kill()
        process.wait()
        assert folder.is_dir()
        _wait_for_end(held)
        assert list(clean_up(tmp_path)) == [
            f"removed {folder}, which a killed selftest had left"
        ]
    assert list(tmp_path.iterdir()) == []


def _wait_for_end(pidfd: int) -> None:
    """A pidfd can be read from when its process has ended."""
    ready, _, _ = select.select([pidfd], [], [], 30.0)
    os.close(pidfd)
    assert ready, "a held worker lived on"


def test_a_run_that_is_at_work_is_left_alone(tmp_path: Path) -> None:
    with running(tmp_path) as (_, folder, _):
        assert list(clean_up(tmp_path)) == []
        assert folder.is_dir()


@pytest.mark.parametrize(
    "mark",
    [
        None,
        b"",
        b"not json",
        b"[]",
        b'{"host": "another.example", "pid": 1}',
        json.dumps({"host": socket.gethostname()}).encode(),
    ],
    ids=str,
)
def test_what_is_not_provably_ours_is_named_and_left_alone(
    tmp_path: Path, mark: bytes | None
) -> None:
    folder = tmp_path / "hubsync-selftest-mine"
    folder.mkdir()
    (folder / "precious").write_bytes(b"x")
    if mark is not None:
        (folder / MARK).write_bytes(mark)
    (said,) = clean_up(tmp_path)
    assert said.startswith(f"{folder} looks like what a selftest left")
    assert (folder / "precious").is_file()


def test_a_link_of_that_name_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    with running(elsewhere) as (process, folder, _):
        process.kill()
        process.wait()
        (tmp_path / "hubsync-selftest-link").symlink_to(folder)
        (said,) = clean_up(tmp_path)
        assert "looks like" in said
        assert folder.is_dir()


def test_a_place_that_is_none_is_refused_with_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, why in (("file", "is not a folder"), ("gone", "does not exist")):
        with (
            pytest.raises(UsageError, match=f"{name} {why}"),
            scratch_folder(tmp_path / name),
        ):
            pass
    with (
        pytest.raises(UsageError, match="cannot write to /proc"),
        scratch_folder(Path("/proc")),
    ):
        pass


def test_a_disk_with_too_little_room_is_refused_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    with TinyDisk(tmp_path / "disk", "size=1m") as disk:
        done = disk.run(
            *(sys.executable, "-m", "hubsync", "selftest", "crash"),
            *("--dir", str(disk.path), "--kills", "2"),
            env={**os.environ, "HUBSYNC_ROOT": str(tmp_path / "store")},
        )
        assert done.returncode == NoRoomError.exit_code, done.stderr
        assert "a run needs 67.1 MB" in done.stderr
        assert list(disk.outside.iterdir()) == []


def test_an_interrupted_run_says_how_far_it_came_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "hubsync", "selftest", "crash"]
    with subprocess.Popen(
        [*command, "--kills", "100000", "--seed", "7", "--dir", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not list(tmp_path.glob("hubsync-selftest-*/store/catalog.db")):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
            assert process.returncode is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"interrupted after \d+ of 100000 kills", said)
    assert "seed 7" in said
    assert "fetched" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_what_an_earlier_one_left(tmp_path: Path) -> None:
    (tmp_path / "hubsync-selftest-old").mkdir()
    command = [sys.executable, "-m", "hubsync", "selftest", "crash"]
    done = subprocess.run(
        [*command, "--kills", "1", "--dir", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hubsync-selftest-old looks like what a selftest left" in done.stderr
    assert json.loads(done.stdout)["violations"] == []
