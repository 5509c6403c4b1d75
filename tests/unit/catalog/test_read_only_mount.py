"""A store on a read-only mount is read without writing anything anywhere."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog, sqlite_url
from tests.unit.catalog.making import plain, publish

ROOT = Path(__file__).parents[3]

# Each line on stdin is a turn: list the recorded titles, newest first.
READER = """
import sys
from hubsync.catalog.catalog import Catalog
from hubsync.model.errors import HubsyncError
try:
    with Catalog.open(sys.argv[1], read_only=True) as catalog:
        for _ in sys.stdin:
            (row,) = catalog.repos()
            titles = [snap.commit.title for snap in catalog.snapshots(row)]
            head = catalog.resolve(row, "main")
            files = [entry.entry.path for entry in catalog.entries(head)]
            print(titles, files, flush=True)
except HubsyncError as error:
    print(type(error).__name__, error, flush=True)
"""


@contextmanager
def reader_of(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that sees *folder* mounted read-only."""
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift'
    unshare = ["unshare", "-m", *([] if os.geteuid() == 0 else ["-r"])]
    script = [*unshare, "sh", "-c", f'{mount} && exec "$@"', "sh", str(folder)]
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    tried = subprocess.run([*script, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"may not mount: {tried.stderr.decode().strip()}")
    url = sqlite_url(folder / "catalog.db")
    with subprocess.Popen(
        [*script, sys.executable, "-W", "error", "-c", READER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        yield process


def ask(process: subprocess.Popen[str]) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_read_only_mount_is_served(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "catalog.db")
    with Catalog.open(url) as catalog:
        publish(catalog, 1, [plain("a", b"1")])
    with reader_of(tmp_path) as reader:
        assert ask(reader) == "['commit 1'] ['a']"
    assert [file.name for file in tmp_path.iterdir()] == ["catalog.db"]


def test_a_reader_of_a_read_only_mount_sees_what_others_write(tmp_path: Path) -> None:
    """It took the file for unchangeable; a pull elsewhere proves it wrong."""
    url = sqlite_url(tmp_path / "catalog.db")
    with Catalog.open(url) as catalog:
        publish(catalog, 1, [plain("a", b"1")])
    with reader_of(tmp_path) as reader:
        assert ask(reader) == "['commit 1'] ['a']"
        with Catalog.open(url) as catalog:
            publish(catalog, 2, [plain("b", b"1")])
            assert ask(reader) == "['commit 2', 'commit 1'] ['b']"
            publish(catalog, 3, [plain("c", b"1")])
            assert ask(reader) == "['commit 3', 'commit 2', 'commit 1'] ['c']"
        with Catalog.open(url) as catalog:
            publish(catalog, 4, [plain("d", b"1")])
        assert ask(reader).endswith("['d']")


def test_a_reader_joins_a_writer_at_work(tmp_path: Path) -> None:
    with Catalog.open(sqlite_url(tmp_path / "catalog.db")) as catalog:
        publish(catalog, 1, [plain("a", b"1")])
        with reader_of(tmp_path) as reader:
            assert ask(reader) == "['commit 1'] ['a']"
            publish(catalog, 2, [plain("b", b"1")])
            assert ask(reader) == "['commit 2', 'commit 1'] ['b']"


def test_changes_that_cannot_be_read_are_not_passed_over(tmp_path: Path) -> None:
    """A log left by a crash, copied without its index: older is not good enough."""
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    copy.mkdir()
    with Catalog.open(sqlite_url(source / "catalog.db")) as catalog:
        publish(catalog, 1, [plain("a", b"1")])
        for name in ("catalog.db", "catalog.db-wal"):
            shutil.copyfile(source / name, copy / name)
    with reader_of(copy) as reader:
        said = ask(reader)
    assert said.startswith("CatalogReadOnlyError")
    assert "catalog.db-wal" in said
    with Catalog.open(sqlite_url(copy / "catalog.db")) as catalog:
        assert len(catalog.repos()) == 1
    with reader_of(copy) as reader:
        assert ask(reader) == "['commit 1'] ['a']"


def test_a_write_ahead_log_needs_no_folder_of_its_own(tmp_path: Path) -> None:
    """The premise: SQLite alone cannot open such a file on such a mount."""
    Catalog.open(sqlite_url(tmp_path / "catalog.db")).close()
    header = (tmp_path / "catalog.db").read_bytes()[18:20]
    assert header == b"\x02\x02", "the file is in WAL mode"
    assert sqlite3.sqlite_version_info >= (3, 22)
