"""Bodies that are too long: refused by what is announced, and so that it is heard."""

import json
import socket

from tests.unit.serve.mirror import WAIT_S, Live, Mirror, serving

MIB = 2**20
ASKED = b"POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1\r\nHost: x\r\n"


def said(live: Live, headers: bytes, body: bytes = b"") -> tuple[bytes, bytes]:
    """Head and body of the answer; the server closes."""
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        connection.sendall(ASKED + headers + b"\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    return head, text


def test_a_body_announced_too_long_is_refused_at_once(mirror: Mirror) -> None:
    """It is not waited for: the client sends none of it until it has heard us."""
    with serving(mirror, stall_s=60.0) as live:
        for size in (4 * MIB + 1, 50 * MIB, 2**60):
            head, text = said(live, b"Content-Length: %d" % size)
            assert head.startswith(b"HTTP/1.1 413")
            assert b"\r\nConnection: close" in head
            assert json.loads(text)["error"].startswith("the body is longer than")
        assert not any(one.exc_info for one in live.log)


def test_who_sends_it_all_the_same_hears_why(live: Live) -> None:
    """Closed at once, the connection would be reset, and the answer be lost."""
    head, text = said(live, b"Content-Length: %d" % (24 * MIB), bytes(24 * MIB))
    assert head.startswith(b"HTTP/1.1 413")
    assert b"fewer paths" in text


def test_a_body_that_announces_nothing_is_read_until_it_is_too_long(live: Live) -> None:
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    chunked = b"Transfer-Encoding: chunked\r\nContent-Type: application/json"
    head, text = said(live, chunked, chunk * 5 + b"0\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413")
    assert b"fewer paths" in text


def test_a_body_as_long_as_may_be_is_read(live: Live) -> None:
    body = b'{"paths": ["config.json"]}'.ljust(4 * MIB)
    json_type = b"Content-Type: application/json\r\nConnection: close\r\n"
    head, text = said(live, json_type + b"Content-Length: %d" % len(body), body)
    assert head.startswith(b"HTTP/1.1 200")
    assert [one["path"] for one in json.loads(text)] == ["config.json"]
