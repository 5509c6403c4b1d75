"""A process was killed as it wrote the head of the log's index, and another writes.

SQLite then lets nobody begin to read; after ten seconds it gives up by itself,
whatever its timeout is.  It was met in a loop of kills on a slow disk.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from hubsync.catalog.catalog import Catalog
from tests.unit.catalog.making import publish, repo

WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
sys.stdin.readline()
"""
TEAR = """
import sys
with open(sys.argv[1], "r+b") as index:
    index.seek(16)
    index.write(bytes(4 * [0xAA]))
"""


@contextmanager
def a_writer_and_a_torn_index(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "writing\n"
        # By a process that has no locks there: closing a file gives them up.
        torn = [sys.executable, "-c", TEAR, f"{path}-shm"]
        subprocess.run(torn, check=True)
        yield writer


@pytest.mark.timeout(120)
def test_who_finds_no_moment_to_read_tries_again(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    url = f"sqlite:///{path}"
    with Catalog.open(url) as catalog, ThreadPoolExecutor(3) as pool:
        publish(catalog, "one", of=repo("org/one"))
        with a_writer_and_a_torn_index(path) as writer:
            looked = pool.submit(catalog.find_repo, repo("org/one"))
            opened = pool.submit(Catalog.open, url)
            written = pool.submit(publish, catalog, "two", of=repo("org/two"))
            with pytest.raises(sqlite3.OperationalError, match="locking protocol"):
                # As SQLite is by itself; it began last, so the others met it too.
                sqlite3.connect(path, timeout=60).execute("SELECT 1 FROM repos")
            assert not looked.done()
            assert not opened.done()
            writer.communicate("")

        assert looked.result() is not None
        with opened.result() as other:
            written.result()
            assert other.find_repo(repo("org/two")) is not None
