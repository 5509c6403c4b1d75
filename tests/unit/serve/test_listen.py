"""Addresses: ours alone, shared, stale."""

import socket
import stat
from pathlib import Path

import pytest

from hubsync.model.errors import ExitCode, UsageError
from hubsync.serve.listen import PortTakenError, again, bind, close, share, url_of
from hubsync.serve.options import ServeOptions
from tests.unit.serve.mirror import WAIT_S, Mirror, serving

TCP = ServeOptions(port=0)


def test_an_address_that_is_shared_is_shared_with_nobody_else() -> None:
    """Two servers on one port would answer by turns, each from its own store."""
    ours = bind(TCP)
    port = ours[0].getsockname()[1]
    share(ours)
    with pytest.raises(PortTakenError):  # nobody listens yet
        bind(ServeOptions(port=port))
    workers = [again(ours[0]) for _ in range(2)]
    for one in workers:
        one.listen()
    with pytest.raises(PortTakenError):
        bind(ServeOptions(port=port))
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S):
        pass
    close([*workers, *ours], TCP)
    close(bind(ServeOptions(port=port)), TCP)


def test_all_addresses_of_a_name_have_one_port() -> None:
    found = bind(ServeOptions(host="localhost", port=0))
    assert len({one.getsockname()[1] for one in found}) == 1
    close(found, TCP)


def test_where_we_listen() -> None:
    found = bind(TCP)
    port = found[0].getsockname()[1]
    assert url_of(found, "https") == f"https://127.0.0.1:{port}"
    close(found, TCP)


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_S)
        client.connect(str(path))
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_unix_socket(mirror: Mirror, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(mirror, unix_socket=path) as live:
        assert live.url == f"unix:{path}"
        assert ask(path).startswith(b"HTTP/1.1 200")
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with pytest.raises(PortTakenError, match="something else listens") as caught:
            bind(ServeOptions(unix_socket=path))
        assert caught.value.exit_code is ExitCode.BUSY
        assert ask(path).startswith(b"HTTP/1.1 200")
    assert not path.exists()


def test_the_socket_of_a_dead_server_is_replaced(
    mirror: Mirror, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with serving(mirror, unix_socket=path):
        assert ask(path).startswith(b"HTTP/1.1 200")


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(UsageError, match="no socket"):
        bind(ServeOptions(unix_socket=path))
    assert path.read_text() == "mine"
    with pytest.raises(UsageError, match="cannot listen on"):
        bind(ServeOptions(unix_socket=tmp_path / "no" / "folder"))
    with pytest.raises(UsageError, match="cannot listen on"):
        bind(ServeOptions(unix_socket=tmp_path / ("x" * 120)))
