"""Too many at once, and too slow."""

import asyncio
import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hubsync.serve import app
from hubsync.serve.certificate import self_signed
from hubsync.serve.limits import ConnectionLimits
from hubsync.serve.metrics import REFUSED, Metrics
from hubsync.serve.options import ServeOptions
from tests.unit.serve.mirror import WAIT_S, File, Live, Mirror, serving

MIB = 2**20
ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def answers(connection: socket.socket) -> bool:
    """Whether the server talks to it, or has closed it."""
    try:
        connection.sendall(ASK)
        return connection.recv(65536).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def connect(live: Live) -> socket.socket:
    return socket.create_connection(live.address, timeout=WAIT_S)


@pytest.mark.parametrize("limit", ["connections_max", "connections_per_client_max"])
def test_s31_one_connection_too_many_is_closed_at_once(
    mirror: Mirror, limit: str
) -> None:
    options: dict[str, Any] = {limit: 2}
    with serving(mirror, **options) as live:
        with connect(live) as first, connect(live) as second:
            assert answers(first)
            assert answers(second)
            with connect(live) as third:
                assert not answers(third)
            assert answers(first)
        live.wait_for("connections refused")
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:  # until the server has seen them leave
            with connect(live) as again:
                if answers(again):
                    break
        else:
            pytest.fail("their places were not given back")


def test_a_thousand_refusals_are_one_line_and_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    options = ServeOptions(connections_max=3, connections_per_client_max=2)
    limits = ConnectionLimits(options, lambda _: False, metrics)
    assert [limits.admit("a") for _ in range(1000)].count(True) == 2
    assert limits.admit("b")
    assert not limits.admit("c")
    assert len(caplog.records) == 1
    numbers = dict(metrics.numbers(REFUSED))
    assert numbers == {("client",): [998], ("all",): [1]}
    for address in ("a", "a", "b"):
        limits.leave(address)
    assert limits.admit("a")


def test_proxies_of_ours_are_not_counted_by_address() -> None:
    options = ServeOptions(connections_max=5, connections_per_client_max=1)
    limits = ConnectionLimits(options, lambda peer: peer == "proxy", Metrics())
    assert [limits.admit("proxy") for _ in range(6)] == [True] * 5 + [False]
    for _ in range(5):
        limits.leave("proxy")
    assert limits.admit("somebody")
    assert not limits.admit("somebody")


@pytest.fixture
def big(own_mirror: Mirror) -> Mirror:
    own_mirror.publish("a/b", {"big.bin": File(bytes(32 * MIB), lfs=True)})
    return own_mirror


def test_a_slow_client_that_takes_something_is_not_dropped(big: Mirror) -> None:
    """Less often than the kernel would say that there is room again."""

    async def read(live: Live) -> int:
        reader, writer = await asyncio.open_connection(*live.address, limit=4096)
        writer.write(b"GET /a/b/resolve/main/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        got = 0
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline and (block := await reader.read(32_768)):
            got += len(block)
            await asyncio.sleep(0.01)
        assert not reader.at_eof()
        writer.transport.abort()
        return got

    with serving(big, stall_s=0.3, rate_bytes_per_s_min=1) as live:
        assert asyncio.run(read(live)) > MIB


def test_stalled_clients_hold_no_thread_and_no_file(
    big: Mirror, tmp_path: Path
) -> None:
    """300 that read nothing, and the API answers at once."""
    with serving(big, drain_s=0.2) as live:
        stalled = [connect(live) for _ in range(300)]
        try:
            for one in stalled:
                one.sendall(
                    b"GET /a/b/resolve/main/big.bin HTTP/1.1\r\nHost: x\r\n\r\n"
                )
            for one in stalled:
                assert one.recv(4) == b"HTTP"
            took = []
            for _ in range(50):
                started = time.monotonic()
                assert live.get("/healthz").status == 200
                took.append(time.monotonic() - started)
            assert sorted(took)[25] < 0.1
        finally:
            for one in stalled:
                one.close()


def test_a_client_that_does_not_shake_hands_is_dropped(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "HANDSHAKE_S", 0.2)
    cert, key = self_signed(tmp_path / "tls", ["127.0.0.1"])
    with (
        serving(mirror, tls_cert=cert, tls_key=key) as live,
        connect(live) as connection,
    ):
        assert live.url.startswith("https://")
        connection.sendall(b"\x16")
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        context = ssl.create_default_context(cafile=str(cert))
        with context.wrap_socket(connect(live), server_hostname="127.0.0.1") as good:
            good.sendall(ASK)
            assert good.recv(12) == b"HTTP/1.1 200"
