"""Requests that are odd and no attack: answered soon and in our words, or closed."""

import socket
import time

import pytest

from hubsync.model.repo import NAME_CHARS_MAX
from tests.unit.serve.mirror import WAIT_S, Live

CONFIG = b"/acme/tiny-bert/resolve/main/config.json"
PATHS_INFO = b"POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1\r\nHost: x\r\n"


def ask(target: bytes, *headers: bytes, method: bytes = b"GET") -> bytes:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    return b"\r\n".join([*lines, *headers, b"", b""])


def post(kind: bytes, body: bytes) -> bytes:
    lengths = b"Connection: close\r\nContent-Length: %d\r\n" % len(body)
    return PATHS_INFO + b"Content-Type: " + kind + b"\r\n" + lengths + b"\r\n" + body


ODD = {
    "other scheme": (ask(b"ftp://x/healthz"), 404),
    "scheme in capitals": (ask(b"HTTP://x/healthz"), 200),
    "user and password": (ask(b"http://u:p@x/healthz"), 200),
    "two slashes": (ask(b"//healthz"), 404),
    "three slashes": (ask(b"///api/models"), 404),
    "other host": (ask(b"//evil.example/api/models"), 404),
    "fragment": (ask(b"/healthz#x"), 404),
    "two question marks": (ask(b"/healthz??a=b?c"), 200),
    "NUL as revision": (ask(b"/acme/tiny-bert/resolve/%00/x"), 404),
    "NUL as name": (ask(b"/api/models/%00/x"), 404),
    "NUL in a query": (ask(b"/api/models?search=%00&author=%00&sort=likes"), 200),
    "NUL as cursor": (ask(b"/api/models?cursor=%00"), 400),
    "no UTF-8 in a query": (ask(b"/api/models?search=%ff"), 200),
    "pattern": (ask(b"/api/models?search=((((%5B"), 200),
    "huge page": (ask(b"/api/models/acme/tiny-bert/commits/main?p=999999999"), 200),
    "huge limit": (ask(b"/api/models?limit=" + b"9" * 5000), 400),
    "half a code point": (ask(b"/api/models/acme/tiny-bert/tree/%ed%a0%80"), 404),
    "long name": (ask(b"/api/models/a/" + b"b" * 7000), 404),
    "name too long by one": (ask(b"/api/models/" + b"b" * (NAME_CHARS_MAX + 1)), 404),
    "long revision": (ask(b"/api/models/acme/tiny-bert/tree/" + b"r" * 7000), 404),
    "deep path": (ask(b"/acme/tiny-bert/resolve/main/" + b"p/" * 3500), 404),
    "many parameters": (ask(b"/api/models?" + b"a=b&" * 1900), 200),
    "body of a GET": (ask(b"/healthz", b"Content-Length: 0"), 200),
    "odd expectation": (ask(b"/healthz", b"Expect: tea"), 417),
    "odd method": (ask(b"/healthz", method=b"PROPFIND"), 403),
    "unknown method": (ask(b"/healthz", method=b"BREW"), 400),
    "odd credentials": (ask(CONFIG, b"Authorization: \xff\xfe"), 200),
    "odd condition": (ask(CONFIG, b'If-None-Match: "\xff,W/,""'), 200),
    "odd date": (ask(CONFIG, b"If-Modified-Since: nonsense"), 200),
    "many cookies": (ask(CONFIG, b"Cookie: " + b"a=b;" * 1900), 200),
    "deep JSON": (post(b"application/json", b"[" * 100_000), 400),
    "list for an object": (post(b"application/json", b"[]"), 400),
    "half a character in JSON": (
        post(b"application/json", b'{"paths":"\\ud800"}'),
        400,
    ),
    "odd paths": (post(b"application/json", b'{"paths":["\\u0000","..","/"]}'), 200),
    "odd type": (post(b"\xff;;=", b"paths=config.json"), 200),
    "form in parts": (post(b"multipart/form-data; boundary=x", b"--x--"), 200),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_request_is_answered_soon_and_in_our_words(
    live: Live, kind: str
) -> None:
    request, status = ODD[kind]
    started = time.monotonic()
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert time.monotonic() - started < 5.0
    head = answer.partition(b"\r\n\r\n")[0]
    assert int(head.split(b" ", 2)[1]) == status, answer
    assert b"\r\nServer: hubsync/" in head
    assert b"\r\nX-Request-Id: " in head
    assert status < 400 or b"\r\nX-Error-Message: " in head
    assert not any(one.exc_info for one in live.log)


def test_many_requests_at_once_are_answered_in_order(live: Live) -> None:
    """Pipelined: before the first is read, the last has been sent."""
    kept = b"%s " + CONFIG + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    large = b"GET /acme/handmade/resolve/main/model.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = [kept % b"GET"] * 60 + [kept % b"HEAD"] * 60 + [large] * 2
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        connection.sendall(b"".join(requests) + ask(b"/healthz"))
        answer = b"".join(iter(lambda: connection.recv(2**20), b""))
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == len(requests) + 1
    assert answer.count(b'{"v": 2}\n') == 60
    assert len(answer) > 2 * 10_040_000
    assert answer.endswith(b"}")


@pytest.mark.parametrize("target", [CONFIG, b"/healthz", b"/nothing"])
def test_http_1_0_is_kept_alive_if_asked_to_be(live: Live, target: bytes) -> None:
    first = b"GET " + target + b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        connection.sendall(first + b"GET " + target + b" HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.0 ") == 2
    assert answer.lower().count(b"connection: keep-alive") == 1
    assert answer.count(b"Content-Length: ") == 2
