"""Starting, draining, ending."""

import asyncio
import errno
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.serve.app import CUT_S, create_app, run, serve
from hubsync.serve.connection import Connection
from hubsync.serve.listen import PortTakenError
from hubsync.serve.options import ServeOptions
from tests.unit.serve.mirror import WAIT_S, File, Mirror, serving

MIB = 2**20


def test_a_port_in_use(mirror: Mirror) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(PortTakenError, match=f":{port}") as caught,
            serving(mirror, port=port),
        ):
            pytest.fail("it started")
    assert caught.value.exit_code is ExitCode.BUSY
    assert "--port" in str(caught.value.hint)


def test_an_address_that_is_not_ours(mirror: Mirror) -> None:
    with (
        pytest.raises(HubsyncError, match="cannot listen on 192"),
        serving(mirror, host="192.0.2.1"),
    ):
        pytest.fail("it started")


def test_ending_leaves_no_thread(mirror: Mirror) -> None:
    with serving(mirror) as live:
        live.get("/acme/handmade/resolve/main/model.bin")
        assert any("sendfile" in one.name for one in threading.enumerate())
    assert not any("sendfile" in one.name for one in threading.enumerate())


def test_running_answers_end_before_the_server_does(own_mirror: Mirror) -> None:
    """SIGTERM: nobody new, and what is being sent is sent to its end."""
    own_mirror.publish("a/b", {"big": File(bytes(24 * MIB), lfs=True)})
    folder = own_mirror.blobs.root.path
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as server:
        assert server.stdout
        port = int(server.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
            client.sendall(b"GET /a/b/resolve/main/big HTTP/1.1\r\nHost: x\r\n\r\n")
            got = client.recv(1000)
            server.send_signal(signal.SIGTERM)
            while block := client.recv(MIB):
                got += block
        assert got.endswith(bytes(24 * MIB))
        assert server.wait(WAIT_S) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_what_came_with_the_signal_is_answered_as_well(
    own_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is told of in the turn of the loop in which a request has come."""
    content = os.urandom(24 * MIB)
    own_mirror.publish("a/b", {"big.bin": File(content, lfs=True)})
    received = Connection.data_received

    def and_stop(self: Connection, data: bytes) -> None:
        self._stop.set()
        received(self, data)

    monkeypatch.setattr(Connection, "data_received", and_stop)
    asked = b"GET /a/b/resolve/main/big.bin HTTP/1.1\r\nHost: h\r\n\r\n"

    async def ask() -> bytes:
        options, url = ServeOptions(port=0), asyncio.Future[str]()
        app = create_app(own_mirror.library(), options)
        serving = asyncio.create_task(
            serve(app, options, url.set_result, asyncio.Event())
        )
        parts = urlsplit(await url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(asked)
        await asyncio.sleep(3 * CUT_S)
        answer = await reader.read()
        writer.close()
        await serving
        return answer

    _, _, body = asyncio.run(asyncio.wait_for(ask(), WAIT_S)).partition(b"\r\n\r\n")
    assert body == content


def test_a_client_that_never_ends_does_not_hold_up_the_end(own_mirror: Mirror) -> None:
    own_mirror.publish("a/b", {"big": File(bytes(32 * MIB), lfs=True)})
    with serving(own_mirror, drain_s=0.2) as live:
        client = socket.create_connection(live.address, timeout=WAIT_S)
        client.sendall(b"GET /a/b/resolve/main/big HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
    client.close()  # only now: `serving` has asserted that the server ended


SERVER = """
import asyncio, sys
from pathlib import Path
from hubsync.catalog.catalog import Catalog, sqlite_url
from hubsync.serve.app import create_app, run
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.store.layout import StoreRoot
from hubsync.store.local import LocalBlobs

folder = Path(sys.argv[1])
blobs = LocalBlobs(StoreRoot.open(folder, create=False, read_only=True))
with Catalog.open(sqlite_url(folder / "catalog.db"), read_only=True) as catalog:
    options = ServeOptions(port=0)
    app = create_app(Library(catalog, blobs), options)
    asyncio.run(run(app, options, lambda url: print(url, flush=True)))
"""


def test_run_ends_by_signal_in_its_own_process(mirror: Mirror) -> None:
    options = ServeOptions(port=0)
    urls = []

    def on_ready(url: str) -> None:
        urls.append(url)
        os.kill(os.getpid(), signal.SIGTERM)

    asyncio.run(run(create_app(mirror.library(), options), options, on_ready))
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", urls[0])


def test_ipv6(mirror: Mirror) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            pytest.skip("no IPv6 here")
        raise
    with serving(mirror, host="::1") as live:
        assert live.url.startswith("http://[::1]:")
