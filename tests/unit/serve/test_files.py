"""What `/resolve` and `/raw` answer."""

import hashlib
from urllib.parse import quote

import pytest

from hubsync.model.digest import Digest, GitOid
from hubsync.wire.lfs import emit_pointer
from tests.unit.serve.conftest import BIG, SAFETENSORS
from tests.unit.serve.mirror import File, Live, Mirror, oid, serving

BERT = "/acme/tiny-bert/resolve/main"
HEAD_2 = oid("bert 2")


def test_a_plain_file(live: Live) -> None:
    answer = live.get(f"{BERT}/config.json")
    assert (answer.status, answer.body) == (200, b'{"v": 2}\n')
    headers = answer.headers
    assert headers["etag"] == f'"{GitOid.of_blob(answer.body)}"'
    assert headers["x-linked-etag"] == headers["etag"]
    assert headers["x-repo-commit"] == HEAD_2
    assert headers["content-length"] == headers["x-linked-size"] == "9"
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["accept-ranges"] == "bytes"
    assert (
        headers["content-disposition"]
        == "inline; filename*=UTF-8''config.json; filename=\"config.json\";"
    )
    assert headers["server"].startswith("hubsync")
    assert len(headers["x-request-id"]) == 32
    assert "location" not in headers


def test_an_lfs_file(live: Live) -> None:
    answer = live.get(f"{BERT}/model.safetensors")
    assert answer.body == SAFETENSORS
    assert answer.headers["etag"] == f'"{Digest.of(SAFETENSORS).hex}"'
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "revision",
    ["main", "HEAD", "feature%2Fx", "refs%2Fconvert%2Fparquet", "refs/convert/parquet",
     "refs%2Fheads%2Fmain", HEAD_2, HEAD_2[:8], HEAD_2[:7].upper()],
)  # fmt: skip
def test_revisions_of_the_head(live: Live, revision: str) -> None:
    answer = live.get(f"/acme/tiny-bert/resolve/{revision}/config.json")
    assert answer.body == b'{"v": 2}\n'
    assert answer.headers["x-repo-commit"] == HEAD_2


@pytest.mark.parametrize("revision", ["v1.0", "refs%2Fpr%2F1", "refs/pr/1"])
def test_revisions_of_the_first_commit(live: Live, revision: str) -> None:
    answer = live.get(f"/acme/tiny-bert/resolve/{revision}/config.json")
    assert answer.body == b'{"v": 1}\n'
    assert answer.headers["x-repo-commit"] == oid("bert 1")


@pytest.mark.parametrize(
    ("raw_path", "body"),
    [
        ("sub%20dir/a%20b%231.txt", b"odd name\n"),
        ("sub%20dir%2Fa%20b%231.txt", b"odd name\n"),
        ("sub%20dir/deep/%C3%A9t%C3%A9.txt", b"summer\n"),
        ("config.json?download=true", b'{"v": 2}\n'),
    ],
)
def test_odd_names(live: Live, raw_path: str, body: bytes) -> None:
    answer = live.get(f"{BERT}/{raw_path}")
    assert (answer.status, answer.body) == (200, body)


def test_a_name_in_another_alphabet_is_encoded_in_headers(live: Live) -> None:
    answer = live.get(f"{BERT}/sub%20dir/deep/%C3%A9t%C3%A9.txt")
    assert answer.headers["content-disposition"] == (
        "inline; filename*=UTF-8''%C3%A9t%C3%A9.txt; filename=\"?t?.txt\";"
    )


PATHS = [
    f"{BERT}/config.json",
    f"{BERT}/empty.txt",
    f"{BERT}/model.safetensors",
    "/acme/handmade/resolve/main/model.bin",
    "/acme/tiny-bert/raw/main/model.safetensors",
    "/acme/tiny-bert/raw/main/config.json",
    f"{BERT}/nothing.txt",
    "/acme/tiny-bert/resolve/nothing/config.json",
    "/nobody/nothing/resolve/main/config.json",
    "/acme/partial/resolve/main/weights.bin",
    "/api/models/acme/tiny-bert",
    "/api/models/acme/tiny-bert/tree/main",
    "/api/nothing",
    "/api/whoami-v2",
    "/healthz",
]


@pytest.mark.parametrize("path", PATHS)
def test_head_says_what_get_says(live: Live, path: str) -> None:
    get, head = live.get(path), live.ask(path, "HEAD")
    assert head.status == get.status
    assert head.body == b""
    differ = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in differ} == {
        k: v for k, v in get.headers.items() if k not in differ
    }
    assert get.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-0", 0, 1), ("bytes=5-8", 5, 9), ("bytes=-4", -4, None),
     ("bytes=299000-", 299000, None), ("bytes=1-99999999", 1, None)],
)  # fmt: skip
def test_one_range(live: Live, header: str, start: int, stop: int | None) -> None:
    answer = live.get(f"{BERT}/model.safetensors", Range=header)
    expected = SAFETENSORS[start:stop]
    assert (answer.status, answer.body) == (206, expected)
    first = start % len(SAFETENSORS)
    last = first + len(expected) - 1
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(SAFETENSORS)}"


def test_ranges_of_a_body_that_goes_by_sendfile(live: Live) -> None:
    target = "/acme/handmade/resolve/main/model.bin"
    answer = live.get(target, Range="bytes=1000001-9000000")
    assert (answer.status, answer.body) == (206, BIG[1_000_001:9_000_001])
    assert live.get(target).body == BIG


def test_a_range_past_the_end(live: Live) -> None:
    answer = live.get(f"{BERT}/config.json", Range="bytes=9-")
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == "bytes */9"


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=5-", "bytes=-1"])
def test_any_range_of_an_empty_file(live: Live, header: str) -> None:
    """200 with the size in Content-Range: the JavaScript client reads it there."""
    answer = live.get(f"{BERT}/empty.txt", Range=header)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == "0"
    assert answer.headers["content-range"] == "bytes */0"


@pytest.mark.parametrize("header", ["bytes=0-1,3-4", "bytes=z", "lines=1-2"])
def test_other_ranges_get_the_whole(live: Live, header: str) -> None:
    answer = live.get(f"{BERT}/config.json", Range=header)
    assert (answer.status, answer.body) == (200, b'{"v": 2}\n')


def test_a_range_on_head_tells_of_the_whole(live: Live) -> None:
    answer = live.ask(f"{BERT}/config.json", "HEAD", {"Range": "bytes=0-0"})
    assert (answer.status, answer.headers["content-length"]) == (200, "9")


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_if_none_match(live: Live, path: str) -> None:
    etag = live.get(f"{BERT}/{path}").headers["etag"]
    for header in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = live.get(f"{BERT}/{path}", If_None_Match=header)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == etag
        assert answer.headers["x-repo-commit"] == HEAD_2
    assert live.get(f"{BERT}/{path}", If_None_Match='"other"').status == 200


def test_if_range(live: Live) -> None:
    """A range of another version is never mixed in."""
    target = f"{BERT}/config.json"
    etag = live.get(target).headers["etag"]
    old = live.get("/acme/tiny-bert/resolve/v1.0/config.json").headers["etag"]
    assert live.get(target, Range="bytes=1-2", If_Range=etag).status == 206
    for stale in (old, f"W/{etag}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        answer = live.get(target, Range="bytes=1-2", If_Range=stale)
        assert (answer.status, answer.body) == (200, b'{"v": 2}\n')


def test_raw_gives_the_pointer_of_an_lfs_file(live: Live) -> None:
    answer = live.get("/acme/tiny-bert/raw/main/model.safetensors")
    pointer = emit_pointer(Digest.of(SAFETENSORS), len(SAFETENSORS))
    assert (answer.status, answer.body) == (200, pointer)
    assert answer.headers["etag"] == f'"{GitOid.of_blob(pointer)}"'
    plain = live.get("/acme/tiny-bert/raw/main/config.json")
    assert plain.body == b'{"v": 2}\n'
    assert plain.headers["etag"] == f'"{GitOid.of_blob(plain.body)}"'


def test_a_recorded_file_that_is_not_held(live: Live) -> None:
    """Said so, and never answered with its pointer."""
    answer = live.get("/acme/partial/resolve/main/weights.bin")
    assert (answer.status, answer.code) == (404, "EntryNotFound")
    assert answer.headers["x-repo-commit"] == oid("partial")
    assert "does not hold the contents of weights.bin" in answer.json()["error"]
    assert live.get("/acme/partial/raw/main/weights.bin").status == 200


@pytest.mark.parametrize(
    "name", ["page.html", "image.svg", "script.js", "doc.pdf", "x.xml", "no-suffix"]
)
def test_s40_nothing_served_runs_as_a_page(own_mirror: Mirror, name: str) -> None:
    own_mirror.publish("a/b", {name: File(b"<script>alert(1)</script>")})
    with serving(own_mirror) as live:
        headers = live.get(f"/a/b/resolve/main/{quote(name)}").headers
    assert headers["content-type"] in (
        "text/plain; charset=utf-8",
        "application/octet-stream",
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("name", ['a"b.txt', "a;b.txt", "a'b.txt", "a%0d%0ab", "a,b"])
def test_s10_no_name_escapes_its_header(own_mirror: Mirror, name: str) -> None:
    own_mirror.publish("a/b", {name: File(b"x")})
    with serving(own_mirror) as live:
        answer = live.get(f"/a/b/resolve/main/{quote(name)}")
    assert answer.status == 200
    safe = name.replace('"', "'")
    assert answer.headers["content-disposition"] == (
        f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{safe}\";"
    )


def test_cors(live: Live) -> None:
    answer = live.get(f"{BERT}/config.json")
    assert answer.headers["access-control-allow-origin"] == "*"
    exposed = answer.headers["access-control-expose-headers"].lower().split(",")
    for header in ("x-repo-commit", "etag", "link", "content-range", "x-error-code"):
        assert header in exposed
    preflight = live.ask(
        f"{BERT}/config.json",
        "OPTIONS",
        {"Origin": "http://x", "Access-Control-Request-Headers": "range"},
    )
    assert preflight.status == 204
    assert "Range" in preflight.headers["access-control-allow-headers"]
    assert preflight.headers["access-control-allow-origin"] == "*"


def test_a_lost_blob_is_an_error_not_an_absence(own_mirror: Mirror) -> None:
    """404 would make clients remember that the file does not exist."""
    own_mirror.publish("a/b", {"f.txt": File(b"content")})
    own_mirror.blobs.path(Digest.of(b"content")).unlink()
    with serving(own_mirror) as live:
        for method in ("GET", "HEAD"):
            answer = live.ask("/a/b/resolve/main/f.txt", method)
            assert (answer.status, answer.code) == (503, None)
        assert any("is missing" in str(one.msg) for one in live.log)


@pytest.mark.parametrize("size", [3, 9])
def test_a_blob_of_another_size_is_not_served(own_mirror: Mirror, size: int) -> None:
    own_mirror.publish("a/b", {"f.txt": File(b"content")})
    path = own_mirror.blobs.path(Digest.of(b"content"))
    path.unlink()
    path.write_bytes(b"c" * size)
    with serving(own_mirror) as live:
        answer = live.get("/a/b/resolve/main/f.txt")
        assert answer.status == 503
        assert b"ccc" not in answer.body
        assert any("another size" in str(one.msg) for one in live.log)


def test_every_version_hashes_to_its_etag(live: Live) -> None:
    for revision in ("main", "v1.0"):
        tree = live.get(f"/api/models/acme/tiny-bert/tree/{revision}?recursive=true")
        for entry in tree.json():
            if entry["type"] == "directory":
                continue
            target = f"/acme/tiny-bert/resolve/{revision}/{quote(entry['path'])}"
            answer = live.get(target)
            assert len(answer.body) == entry["size"]
            if "lfs" in entry:
                name = hashlib.sha256(answer.body).hexdigest()
                assert name == entry["lfs"]["oid"]
            else:
                name = GitOid.of_blob(answer.body).hex
                assert name == entry["oid"]
            assert answer.headers["etag"] == f'"{name}"'


def test_an_lfs_file_of_no_bytes(own_mirror: Mirror) -> None:
    """Its pointer is empty as well: git-lfs writes none for nothing."""
    own_mirror.publish("a/b", {"none.bin": File(b"", lfs=True)})
    sha256, git_oid = hashlib.sha256().hexdigest(), GitOid.of_blob(b"").hex
    with serving(own_mirror) as live:
        for where, etag in (("resolve", sha256), ("raw", git_oid)):
            target = f"/a/b/{where}/main/none.bin"
            for method in ("GET", "HEAD"):
                answer = live.ask(target, method)
                assert (answer.status, answer.body) == (200, b"")
                assert answer.headers["content-length"] == "0"
                assert answer.headers["etag"] == f'"{etag}"'
                known = live.ask(target, method, {"If-None-Match": f'"{etag}"'})
                assert known.status == 304
            part = live.get(target, Range="bytes=0-0")
            assert (part.status, part.body) == (200, b"")
            assert part.headers["content-range"] == "bytes */0"
        linked = live.ask("/a/b/resolve/main/none.bin", "HEAD").headers
        assert linked["x-linked-size"] == "0"
        assert linked["x-linked-etag"] == f'"{sha256}"'
        (row,) = live.get("/api/models/a/b/tree/main").json()
        assert (row["size"], row["oid"]) == (0, git_oid)
        assert row["lfs"] == {"oid": sha256, "size": 0, "pointerSize": 0}
