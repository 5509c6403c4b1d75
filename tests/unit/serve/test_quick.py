"""The quick way to a file's headers says what the long way says, and never more."""

import asyncio
import http.client
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from hubsync.model.repo import RepoType
from hubsync.serve.app import create_app
from hubsync.serve.library import Library
from hubsync.serve.ready import Head
from tests.unit.serve import mirror as stand
from tests.unit.serve.mirror import File, Live, Mirror, oid, serving

CONFIG = "/acme/one/resolve/main/config.json"


@pytest.fixture
def lively(own_mirror: Mirror) -> Iterator[tuple[Mirror, Live]]:
    own_mirror.publish("acme/one", {"config.json": File(b"first")}, commit="one")
    with serving(own_mirror) as live:
        yield own_mirror, live


def test_a_moved_ref_is_seen_by_the_next_request(
    lively: tuple[Mirror, Live],
) -> None:
    mirror, live = lively
    for number in range(20):
        text = b"%d" % number
        mirror.publish("acme/one", {"config.json": File(text)}, commit=str(number))
        for _ in range(2):  # looked up, and recalled
            got = live.get(CONFIG)
            assert (got.body, got.headers["x-repo-commit"]) == (text, oid(str(number)))


def test_what_was_forgotten_is_gone_for_the_next_request(
    lively: tuple[Mirror, Live],
) -> None:
    mirror, live = lively
    assert live.ask(CONFIG, "HEAD").status == live.ask(CONFIG, "HEAD").status == 200
    row = mirror.library().repo(RepoType.MODEL, "acme/one")
    assert row
    mirror.catalog.forget(row, None)
    assert live.ask(CONFIG, "HEAD").status == 404
    assert live.get(CONFIG).code == "RepoNotFound"


def test_what_is_not_held_any_more_is_not_promised(
    lively: tuple[Mirror, Live],
) -> None:
    mirror, live = lively
    assert live.ask(CONFIG, "HEAD").status == 200
    (blob,) = mirror.catalog.all_held()
    assert mirror.catalog.mark_lost(blob.digest)
    assert live.ask(CONFIG, "HEAD").status == 503
    assert live.get(CONFIG).status == 503


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_blob_that_is_gone_or_cut_is_not_promised(
    lively: tuple[Mirror, Live], method: str
) -> None:
    mirror, live = lively
    assert live.ask(CONFIG, method).status == 200
    (blob,) = mirror.catalog.all_held()
    path = mirror.blobs.path(blob.digest)
    path.chmod(0o600)
    for damage in (b"firs", b"first!", None):
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        assert live.ask(CONFIG, method).status == 503


def test_head_and_get_and_a_range_have_the_same_headers(live: Live) -> None:
    for name in (
        "config.json",
        "model.safetensors",
        "empty.txt",
        "sub%20dir/a%20b%231.txt",
    ):
        target = f"/acme/tiny-bert/resolve/main/{name}"
        head, quick = live.ask(target, "HEAD"), live.get(target)
        slow = live.ask(target, headers={"If-None-Match": '"another"'})
        kept = [
            {k: v for k, v in one.headers.items() if k not in ("x-request-id", "date")}
            for one in (head, quick, slow)
        ]
        assert kept[0] == kept[1] == kept[2]
        assert quick.body == slow.body
        assert head.body == b""


def test_each_answer_has_an_id_of_its_own(live: Live) -> None:
    target = "/acme/tiny-bert/resolve/main/config.json"
    ids = {live.get(target).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
    assert all(len(one) == 32 for one in ids)


@pytest.mark.parametrize(
    ("asked", "first", "connection"),
    [
        (b"HTTP/1.0\r\n", b"HTTP/1.0 200 OK", None),
        (b"HTTP/1.0\r\nConnection: keep-alive\r\n", b"HTTP/1.0 200 OK", b"keep-alive"),
        (b"HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", b"HTTP/1.1 200 OK", b"close"),
    ],
)
def test_old_clients_and_those_who_want_to_leave(
    live: Live, asked: bytes, first: bytes, connection: bytes | None
) -> None:
    path = b"/acme/tiny-bert/resolve/main/config.json"
    with socket.create_connection(live.address, 10) as one:
        one.sendall(b"GET " + path + b" " + asked + b"\r\n")
        got = b""
        while not got.endswith(b'{"v": 2}\n'):
            more = one.recv(4096)
            assert more, got
            got += more
        if connection != b"keep-alive":
            assert one.recv(4096) == b""
    lines = got.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert lines[0] == first
    found = [line[12:] for line in lines if line.startswith(b"Connection: ")]
    assert found == ([] if connection is None else [connection])


def test_many_on_one_connection_in_one_breath(live: Live) -> None:
    """Pipelined: each is answered, in order, whole."""
    path = b"/acme/tiny-bert/resolve/main/"
    names = [b"config.json", b"vocab.txt", b"empty.txt"] * 50
    with socket.create_connection(live.address, 10) as one:
        one.sendall(
            b"".join(b"GET %s%s HTTP/1.1\r\nHost: x\r\n\r\n" % (path, n) for n in names)
        )
        reader = one.makefile("rb")
        for name in names:
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            fields = http.client.parse_headers(reader)
            assert f"filename*=UTF-8''{name.decode()}" in fields["Content-Disposition"]
            assert len(reader.read(int(fields["Content-Length"]))) >= 0


def test_what_others_add_to_an_answer_is_sent(
    own_mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_mirror.publish("acme/one", {"config.json": File(b"first")})

    async def mark(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["Cache-Control"] = response.headers["X-Repo-Commit"]

    def create(*args: Any, **options: Any) -> web.Application:
        app = create_app(*args, **options)
        app.on_response_prepare.append(mark)
        return app

    monkeypatch.setattr(stand, "create_app", create)
    with serving(own_mirror) as live:
        for _ in range(2):
            got = live.ask(CONFIG, "HEAD").headers
            assert got["cache-control"] == got["x-repo-commit"]
            assert got["access-control-allow-origin"] == "*"


def test_no_header_begins_another() -> None:
    with pytest.raises(ValueError, match="control character"):
        Head({"ETag": '"x"\r\nSet-Cookie: y'})


def test_nothing_is_recalled_after_a_commit(own_mirror: Mirror) -> None:
    own_mirror.publish("acme/one", {"a": File(b"1")}, commit="one")

    async def main() -> None:
        library: Library = own_mirror.library()
        row = await library.find_repo(RepoType.MODEL, "acme/one")
        assert row
        first = await library.find_snapshot(row, "main")
        assert first is await library.find_snapshot(row, "main")
        assert first
        assert await library.find_entry(first, "a") is await library.find_entry(
            first, "a"
        )
        assert await library.find_entry(first, "main") is None
        await asyncio.to_thread(
            own_mirror.publish, "acme/one", {"a": File(b"2")}, commit="two"
        )
        second = await library.find_snapshot(row, "main")
        assert second
        assert second.commit.oid == oid("two")

    asyncio.run(main())


def test_a_list_changes_with_the_catalog(lively: tuple[Mirror, Live]) -> None:
    mirror, live = lively
    for number in range(5):
        mirror.publish("acme/one", {"a": File(b"%d" % number)}, commit=str(number))
        mirror.publish(f"acme/new{number}", {"a": File(b"1")}, commit="new")
        listed = live.get("/api/models?full=true").json()
        heads = {one["id"]: one["sha"] for one in listed}
        assert heads["acme/one"] == oid(str(number))
        assert len(heads) == number + 2
