"""The CDN gives a file to whoever holds a good URL, and to nobody else."""

import re

import pytest
from yarl import URL

from tests.selfcheck.asking import ask
from tests.testhub import Lfs, TestHub

WEIGHTS = bytes(range(256)) * 16
SIGNED_FOR_S = 3600


@pytest.fixture
def url(hub: TestHub) -> str:
    hub.create_repo("acme/tiny").commit({"model.bin": Lfs(WEIGHTS)})
    return ask(f"{hub.endpoint}/acme/tiny/resolve/main/model.bin").location


def test_a_fresh_url_gives_the_file_without_any_token(url: str) -> None:
    reply = ask(url)
    assert (reply.status, reply.body) == (200, WEIGHTS)


def test_the_etag_of_the_cdn_is_the_xet_hash(hub: TestHub, url: str) -> None:
    hop = ask(f"{hub.endpoint}/acme/tiny/resolve/main/model.bin")
    etag = ask(url, method="HEAD").headers["ETag"]

    assert etag == f'"{hop.headers["X-Xet-Hash"]}"'
    assert etag != hop.headers["X-Linked-Etag"]


def test_ranges_are_206_and_beyond_the_end_is_416(url: str) -> None:
    middle = ask(url, headers={"Range": "bytes=100-199"})
    tail = ask(url, headers={"Range": "bytes=-10"})
    beyond = ask(url, headers={"Range": f"bytes={len(WEIGHTS)}-"})

    assert (middle.status, middle.body) == (206, WEIGHTS[100:200])
    assert middle.headers["Content-Range"] == f"bytes 100-199/{len(WEIGHTS)}"
    assert (tail.status, tail.body) == (206, WEIGHTS[-10:])
    assert beyond.status == 416
    assert beyond.headers["Content-Range"] == f"bytes */{len(WEIGHTS)}"


def test_a_url_expires(hub: TestHub, url: str) -> None:
    hub.world.clock.advance(SIGNED_FOR_S + 1)
    stale = ask(url)
    fresh = ask(f"{hub.endpoint}/acme/tiny/resolve/main/model.bin").location

    assert stale.status == 403
    assert b"AccessDenied" in stale.body
    assert stale.headers["Content-Type"].startswith("application/xml")
    assert ask(fresh).status == 200


def test_another_expiry_than_the_signed_one_is_refused(url: str) -> None:
    later = re.sub(r"Expires=(\d+)", "Expires=99999999999", url)
    assert ask(later).status == 403


def test_a_query_that_was_encoded_anew_is_refused(url: str) -> None:
    anew = str(URL(url))
    assert anew != url
    assert ask(anew).status == 403


def test_a_token_at_the_cdn_is_noted(hub: TestHub, url: str) -> None:
    ask(url, headers={"Authorization": "Bearer hf_leak"})
    assert hub.log.matching(role="cdn")[-1].notes


def test_a_token_at_the_cdn_is_refused(url: str) -> None:
    assert ask(url, headers={"Authorization": "Bearer hf_leak"}).status == 403
