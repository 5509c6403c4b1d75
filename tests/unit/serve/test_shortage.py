"""Out of open files, or out of the store's folder: nothing is wrong with any blob."""

import logging
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from hubsync.serve.options import ServeOptions
from hubsync.serve.shortage import fitted
from tests.unit.serve.mirror import WAIT_S, File, Live, Mirror, serving

BIG = bytes(3_000_000)
FILES = {"config.json": File(b"{}"), "big": File(BIG, lfs=True)}


@contextmanager
def no_file_left() -> Iterator[None]:
    """Nobody in this process can open one more, until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        highest = max(int(one.name) for one in Path("/dev/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
        with suppress(OSError):
            while True:
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


def connected(live: Live) -> socket.socket:
    return socket.create_connection(live.address, timeout=WAIT_S)


def answer_on(connection: socket.socket, path: str, method: str = "GET") -> bytes:
    """The first block of the answer; short ones are in it whole."""
    target = f"/a/b/resolve/main/{path}"
    connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection.recv(65536)


@pytest.mark.parametrize("path", FILES)
def test_without_a_file_left_an_intact_blob_is_not_called_damaged(
    own_mirror: Mirror, path: str
) -> None:
    own_mirror.publish("a/b", FILES)
    with serving(own_mirror) as live, connected(live) as connection:
        assert answer_on(connection, path, "HEAD").startswith(b"HTTP/1.1 200")
        with no_file_left():
            got = answer_on(connection, path)
        assert got.startswith(b"HTTP/1.1 503")
        assert b"\r\nRetry-After: " in got
        assert b"busy" in got
        assert b"damaged" not in got
        assert live.get(f"/a/b/resolve/main/{path}").body == FILES[path].data
        said = [str(one.msg) for one in live.log if one.levelno >= logging.WARNING]
        assert [one.split(" reason")[0] for one in said] == ["short of files or memory"]


def test_without_a_file_left_to_accept_one_line_says_so(
    own_mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    own_mirror.publish("a/b", FILES)
    with serving(own_mirror) as live, socket.socket() as connection:
        connection.settimeout(WAIT_S)
        with no_file_left():
            connection.connect(live.address)
            live.wait_for("no connection can be accepted")
        # A second later it is.
        assert answer_on(connection, "config.json").endswith(b"{}")
    assert not [one for one in caplog.records if one.name == "asyncio"]


def test_the_limit_of_open_files_is_a_limit_of_connections(tmp_path: Path) -> None:
    script = 'ulimit -n 160; exec "$@"'
    serve = [sys.executable, "-m", "hubsync", "serve", "--root", str(tmp_path)]
    with subprocess.Popen(
        ["sh", "-c", script, "sh", *serve, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        assert server.stderr
        assert "listening" in server.stdout.readline()
        server.terminate()
        said = server.stderr.read()
    assert said.count("limit of open files allows 32 connections") == 1


def test_more_files_than_are_needed_change_nothing() -> None:
    options = ServeOptions(connections_max=5)
    assert fitted(options) is options


@pytest.mark.parametrize("path", FILES)
def test_a_store_whose_folder_is_gone_is_not_a_store_of_damaged_blobs(
    own_mirror: Mirror, path: str
) -> None:
    own_mirror.publish("a/b", FILES)
    target, folder = f"/a/b/resolve/main/{path}", own_mirror.folder
    with serving(own_mirror) as live:
        assert live.get(target).status == 200
        away = folder.rename(folder.with_suffix(".away"))
        reason = live.get("/readyz").json()["reason"]
        for method in ("GET", "HEAD"):
            got = live.ask(target, method)
            assert got.status == 503
            assert reason in got.headers["x-error-message"]
            assert "retry-after" in got.headers
        assert not [one for one in live.log if "recorded blob" in str(one.msg)]
        away.rename(folder)
        assert live.get(target).body == FILES[path].data
