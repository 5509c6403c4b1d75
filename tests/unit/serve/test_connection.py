"""What aiohttp's parser refuses: answered as everything else is, repeating nothing."""

import json
import socket
from collections.abc import Iterator

import pytest
from aiohttp import web_protocol
from aiohttp.http_parser import HttpRequestParserPy

from hubsync import __version__
from tests.unit.serve.mirror import WAIT_S, Live, Mirror, serving
from tests.unit.serve.test_hostile import talk

SECRET = b"hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
HOST = b"GET / HTTP/1.1\r\nHost: x\r\n"

REFUSED = {
    "first line": b"GET /%s HTTP/nine\r\n\r\n" % SECRET,
    "three words": b"GET /%s x HTTP/1.1\r\n\r\n" % SECRET,
    "one word": b"%s\r\n\r\n" % SECRET,
    "method": b"G@T /%s HTTP/1.1\r\nHost: x\r\n\r\n" % SECRET,
    "address": b"GET http://[%s/ HTTP/1.1\r\nHost: x\r\n\r\n" % SECRET,
    "NUL in the path": b"GET /%s\0 HTTP/1.1\r\nHost: x\r\n\r\n" % SECRET,
    "long path": b"GET /%s%s HTTP/1.1\r\n\r\n" % (SECRET, b"y" * 9000),
    "long header": HOST + b"Authorization: Bearer %s%s\r\n\r\n" % (SECRET, b"y" * 9000),
    "NUL in a header": HOST + b"Authorization: Bearer %s\0\r\n\r\n" % SECRET,
    "no header": HOST + SECRET + b"\r\n\r\n",
    "many headers": HOST + b"Cookie: %s\r\n" % SECRET * 500 + b"\r\n",
    "length": HOST + b"Content-Length: %s\r\n\r\n" % SECRET,
    "chunk": HOST + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n" % SECRET,
    "line ends": b"GET /%s HTTP/1.1\nHost: x\n\n" % SECRET,
    "no host": b"GET /%s HTTP/1.1\r\n\r\n" % SECRET,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECRET,
}


@pytest.fixture(scope="module", params=["fast", "slow"])
def either(mirror: Mirror, request: pytest.FixtureRequest) -> Iterator[Live]:
    """With each of aiohttp's parsers: the slow one is for where nobody compiled it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "slow":
            patch.setattr(web_protocol, "HttpRequestParser", HttpRequestParserPy)
        with serving(mirror) as live:
            yield live


@pytest.mark.parametrize("kind", REFUSED)
def test_s20_a_refusal_is_json_and_repeats_nothing(either: Live, kind: str) -> None:
    """It fails, too, once aiohttp does not ask `Connection.handle_error` any more."""
    answer = talk(either, REFUSED[kind])
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert first == "HTTP/1.0 400 Bad Request"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["server"] == f"hubsync/{__version__}"
    assert headers["x-error-message"] == json.loads(body)["error"].lower()
    assert len(headers["x-request-id"]) == 32
    assert b"hf_" not in answer.lower()
    assert not any(one.exc_info for one in either.log)
    assert not any(SECRET.decode() in one.getMessage() for one in either.log)


def test_the_log_says_which_answer_it_means(mirror: Mirror) -> None:
    with serving(mirror) as live:
        answer = talk(live, REFUSED["length"])
        live.wait_for("request refused")
        (line,) = [str(one.msg) for one in live.log if "refused" in str(one.msg)]
    number = answer.partition(b"X-Request-Id: ")[2].partition(b"\r\n")[0].decode()
    assert f'request_id="{number}"' in line


def test_the_requests_before_it_are_answered(live: Live) -> None:
    """And nothing behind it is read."""
    with socket.create_connection(live.address, timeout=WAIT_S) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        got = connection.recv(65536)
        connection.sendall(REFUSED["one word"] + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        got += b"".join(iter(lambda: connection.recv(65536), b""))
    assert got.count(b"HTTP/1.") == 2
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.0 400 Bad Request" in got


def test_a_body_that_turns_out_to_be_none(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The headers were good; what came after them is not what they announced.

    aiohttp's fast parser says so only when nobody waits for the body any more.
    """
    monkeypatch.setattr(web_protocol, "HttpRequestParser", HttpRequestParserPy)
    with (
        serving(mirror) as live,
        socket.create_connection(live.address, timeout=WAIT_S) as connection,
    ):
        connection.sendall(
            b"POST /api/models/acme/tiny-bert/paths-info/main HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"%s\r\n" % SECRET)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"the body is not as its headers announce it" in answer
    assert b"hf_" not in answer
    assert not any(one.exc_info for one in live.log)
