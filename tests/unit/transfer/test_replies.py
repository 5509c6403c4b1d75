"""What an answer to a request for a file, or a part of it, is taken for."""

import asyncio
from collections.abc import Callable

import pytest

from hubsync.model.digest import Descriptor, Digest
from hubsync.model.spans import Span
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    GatedError,
    HubAnswerError,
    NotAllowedError,
    Source,
)
from hubsync.transfer.errors import (
    ContradictionError,
    ExpiredError,
    RetryLaterError,
    StartOverError,
)
from hubsync.transfer.http import Courier, Session
from hubsync.transfer.replies import Found, check_part
from tests.unit.hubs.scripted import Scripted, http_answer
from tests.unit.transfer.fetching import QUICK

DATA = b"0123456789"
WANT = Descriptor(len(DATA), digest=Digest.of(DATA))
ETAG = 'ETag: "one"'
WHOLE, PART = (0, 10), (3, 7)


def check(
    answer: bytes,
    span: Span = PART,
    etag: str | None = None,
    name: str = "w.bin of org/files",
    *,
    at_cdn: bool = False,
) -> Found:
    """What `check_part` makes of *answer*, given by the hub or behind a redirect."""

    async def story(url: str) -> Found:
        session = Session(QUICK)
        try:
            reply = await Courier(session, QUICK).get(Source(url), {})
            async with reply.response:
                return check_part(reply, name, span, WANT, etag)
        finally:
            await session.close()

    serve: Callable[[str, dict[str, str]], bytes] = lambda path, headers: answer  # noqa: E731
    with Scripted(serve) as server:
        away = http_answer("302 Found", b"", f"Location: {server.endpoint}/signed")
        with Scripted(lambda path, headers: away) as hub:
            url = hub.endpoint if at_cdn else server.endpoint
            return asyncio.run(story(f"{url}/f"))


def part(ranged: str = "bytes 3-6/10", *headers: str, body: bytes = b"3456") -> bytes:
    ranges = [f"Content-Range: {ranged}"] if ranged else []
    return http_answer("206 Partial Content", body, ETAG, *ranges, *headers)


class TestGood:
    def test_the_whole_file(self) -> None:
        assert check(http_answer("200 OK", DATA, ETAG), WHOLE) == Found(True, '"one"')

    @pytest.mark.parametrize("ranged", ["bytes 3-6/10", "bytes 3-6/*"])
    def test_the_part_that_was_asked_for(self, ranged: str) -> None:
        assert check(part(ranged), etag='"one"') == Found(False, '"one"')

    def test_a_weak_etag_promises_no_bytes(self) -> None:
        weak = http_answer(
            "206 Partial Content",
            DATA[3:7],
            "Content-Range: bytes 3-6/10",
            'ETag: W/"two"',
        )
        assert check(weak, etag='"one"') == Found(whole=False, etag=None)

    def test_a_shorter_part(self) -> None:
        assert not check(part("bytes 3-4/10", body=b"34")).whole

    def test_a_range_that_was_ignored_is_the_whole_file(self) -> None:
        assert check(http_answer("200 OK", DATA)) == Found(True, None)

    def test_a_web_page_of_the_right_size(self) -> None:
        page = http_answer("200 OK", DATA, "Content-Type: text/html")
        assert check(page, WHOLE).whole

    def test_a_file_that_is_a_web_page_and_comes_without_a_length(self) -> None:
        page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + DATA
        assert check(page, WHOLE, name="art of war.HTML of org/files").whole


class TestAskedAgain:
    @pytest.mark.parametrize(
        "ranged",
        [
            *("bytes 2-5/10", "bytes 4-7/10", "bytes 3-7/10", "bytes 3-6/11"),
            *("bytes 6-3/10", "bytes 3-6", "chars 3-6/10", "", "bytes 3-6/5"),
        ],
    )
    def test_another_part_is_no_part_of_the_file(self, ranged: str) -> None:
        with pytest.raises(ContradictionError, match="another range"):
            check(part(ranged))

    def test_a_part_of_two_lengths(self) -> None:
        with pytest.raises(ContradictionError, match="two lengths"):
            check(part(body=b"34567"))

    def test_another_etag_is_another_file(self) -> None:
        with pytest.raises(ContradictionError, match="another file"):
            check(part(), etag='"two"')

    def test_an_etag_that_is_gone_is_so_too(self) -> None:
        with pytest.raises(ContradictionError, match="another file"):
            check(http_answer("200 OK", DATA), etag='"one"')

    def test_a_range_past_the_end_starts_the_file_over(self) -> None:
        with pytest.raises(StartOverError, match="does not give that range"):
            check(http_answer("416 Range Not Satisfiable", b""))

    @pytest.mark.parametrize("said", ["bytes */10", "bytes */*", "bytes 0-9/10", ""])
    def test_a_416_that_names_no_other_size_is_one_of_ranges(self, said: str) -> None:
        with pytest.raises(StartOverError):
            check(http_answer("416 N", b"", f"Content-Range: {said}"))

    def test_a_416_that_names_another_size_is_of_another_file(self) -> None:
        with pytest.raises(ContradictionError, match="11 bytes there, not of 10"):
            check(http_answer("416 N", b"", "Content-Range: bytes */11"))

    @pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
    def test_encoded_bytes(self, encoding: str) -> None:
        with pytest.raises(RetryLaterError, match=f"{encoding}-encoded"):
            check(part("bytes 3-6/10", f"Content-Encoding: {encoding}"))

    def test_too_few_bytes(self) -> None:
        with pytest.raises(ContradictionError, match="4 bytes of 10"):
            check(http_answer("200 OK", b"3456"), WHOLE)

    @pytest.mark.parametrize("length", ["Content-Length: 6\r\n", ""])
    def test_a_web_page(self, length: str) -> None:
        page = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{length}\r\n<html>"
        with pytest.raises(RetryLaterError, match="web page"):
            check(page.encode(), WHOLE)

    @pytest.mark.parametrize("status", ["500 E", "503 B", "408 T", "425 E"])
    def test_a_host_in_trouble(self, status: str) -> None:
        with pytest.raises(RetryLaterError, match=f"answered {status[:3]}") as caught:
            check(http_answer(status, b"", "Retry-After: 7"))
        assert caught.value.wait_s == 7.0

    def test_a_429_says_how_long(self) -> None:
        limit = 'RateLimit: "resolvers";r=0;t=55'
        with pytest.raises(RetryLaterError, match="limits the rate") as caught:
            check(http_answer("429 Too Many", b"", limit))
        assert caught.value.wait_s == 56.0

    @pytest.mark.parametrize("status", ["400 B", "401 U", "403 F", "404 N", "410 G"])
    def test_a_refusal_of_a_cdn_is_an_address_that_has_expired(
        self, status: str
    ) -> None:
        with pytest.raises(ExpiredError, match=status[:3]):
            check(http_answer(status, b""), at_cdn=True)


class TestTheHubSaysNo:
    @pytest.mark.parametrize("status", ["401 U", "403 F"])
    def test_to_us(self, status: str) -> None:
        said = "X-Error-Message: Access to model a/b is restricted."
        with pytest.raises(NotAllowedError, match="is restricted") as caught:
            check(http_answer(status, b"", said))
        assert caught.value.hint
        assert caught.value.exit_code == 4
        assert not isinstance(caught.value, GatedError)
        with pytest.raises(GatedError, match="is restricted") as caught:
            check(http_answer(status, b"", said, "X-Error-Code: GatedRepo"))
        assert caught.value.hint

    def test_to_all(self) -> None:
        with pytest.raises(FileNotFoundOnHubError, match=r"w\.bin of org/files"):
            check(http_answer("404 Not Found", b""))

    @pytest.mark.parametrize("status", ["400 B", "304 N", "204 N", "451 L"])
    def test_in_a_way_that_no_hub_does(self, status: str) -> None:
        with pytest.raises(HubAnswerError, match=status[:3]):
            check(http_answer(status, b""))
