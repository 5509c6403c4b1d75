"""Rows of docs/security.md that the tests of no other part of the server show."""

import gzip
import itertools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from hubsync.model.repo import RepoType
from tests.unit.serve.mirror import File, Live, Mirror, oid, serving
from tests.unit.serve.tenants import bearer, give, status
from tests.unit.serve.test_hostile import TRAVERSALS, raw, talk

PATHS_INFO = "/api/models/acme/tiny-bert/paths-info/main"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}

# Files that this process opens, while somebody looks: an audit hook stays for good.
_watchers: list[list[Path]] = []


def _note(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _watchers and isinstance(args[0], str | bytes):
        for watcher in _watchers:
            watcher.append(Path(os.fsdecode(args[0])))


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[Path]]:
    """What is opened meanwhile, by whatever means, but for Python's own modules."""
    paths: list[Path] = []
    _watchers.append(paths)
    try:
        yield paths
    finally:
        _watchers.remove(paths)


def test_s3_a_folder_whose_name_begins_like_the_stores_is_not_reached(
    tmp_path: Path,
) -> None:
    """Nothing is opened but blobs of the store: no name becomes a path."""
    mirror, sibling = Mirror(tmp_path / "mirror"), tmp_path / "mirror2"
    mirror.publish("acme/tiny-bert", {"config.json": File(b"{}")})
    sibling.mkdir()
    (sibling / "secret.txt").write_text("canary")
    outside = [
        "../mirror2/secret.txt", f"{sibling}/secret.txt", "../../mirror2/secret.txt",
        f"../../../../../../../..{sibling}/secret.txt", "../catalog.db",
    ]  # fmt: skip
    try:
        with serving(mirror) as live, opened() as paths:
            for target in TRAVERSALS:
                raw(live, target)
            for one in outside:
                for spelt in (one, quote(one, safe=""), quote(quote(one, safe=""))):
                    for shape in ("/acme/tiny-bert/{}/main/{}", "/{}/{}", "/{1}"):
                        target = shape.format("resolve", spelt).encode()
                        assert b"canary" not in raw(live, target)[1]
            assert not list(_data(paths, tmp_path))
            assert raw(live, b"/acme/tiny-bert/resolve/main/config.json")[0] == 200
            assert len(list(_data(paths, tmp_path))) == 1
    finally:
        mirror.close()


def _data(paths: list[Path], root: Path) -> Iterator[Path]:
    """Those of *paths* below *root*, or that lead there or to other data."""
    for path in paths:
        if path.is_relative_to(root) or "passwd" in path.name or ".." in path.parts:
            yield path


def everything_in(folder: Path) -> dict[Path, bytes]:
    found = sorted(one for one in folder.rglob("*") if one.is_file())
    return {one: one.read_bytes() for one in found if "catalog" not in one.name}


def test_s6_nothing_is_uploaded_whatever_its_name(own_mirror: Mirror) -> None:
    """Neither by git-lfs, nor by the Hub's ways, nor by a registry's."""
    own_mirror.publish("acme/x", {"f": File(b"f", lfs=True)})
    before = everything_in(own_mirror.folder)
    batch = {
        "operation": "upload",
        "objects": [{"oid": "../../../../catalog.db", "size": 1}],
    }
    with serving(own_mirror, xet="always") as live:
        for method, target in itertools.product(
            ("POST", "PUT", "PATCH"),
            (
                "/acme/x.git/info/lfs/objects/batch",
                "/acme/x.git/info/lfs/objects/..%2F..%2Fcatalog.db",
                "/api/models/acme/x/preupload/main",
                "/api/models/acme/x/commit/main",
                "/api/models/acme/x/upload/main/..%2Fx",
                "/api/repos/create",
                "/v2/acme/x/blobs/uploads/",
                "/v2/acme/x/manifests/..%2Flatest",
                "/_xet/xorbs/default/" + "0" * 64,
                "/acme/x/resolve/main/f",
            ),
        ):
            answer = live.ask(target, method, JSON, json.dumps(batch).encode())
            assert answer.status in (403, 404), (method, target)
    assert everything_in(own_mirror.folder) == before


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "x"])
def test_s23_a_body_that_claims_to_be_compressed_is_not_unpacked(
    live: Live, encoding: str
) -> None:
    """A bomb of 100 MB costs nothing, and what is no gzip is no error of ours."""
    headers = {**FORM, "Content-Encoding": encoding}
    for body in (gzip.compress(bytes(100_000_000), 9), b"paths=config.json"):
        answer = live.ask(PATHS_INFO, "POST", headers, body)
        assert answer.status == 415
        assert live.ask("/healthz", "GET", headers, body).status == 200
    plain = {**FORM, "Content-Encoding": "identity"}
    assert len(live.ask(PATHS_INFO, "POST", plain, b"paths=config.json").json()) == 1
    assert not any(one.exc_info for one in live.log)


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (JSON, b"[" * 1_000_000, {400}),
        (JSON, b'{"paths":' * 400_000, {400}),
        (JSON, b'{"paths": ["' + b"a" * 3_000_000 + b'"]}', {200}),
        (JSON, b'{"paths": [' + b"1," * 500_000 + b"1]}", {400}),
        (JSON, b'{"paths": ' + b"9" * 1_000_000 + b"}", {400}),
        (JSON, b'{"paths": ["' + b"a/" * 1_000_000 + b'"], "expand": true}', {200}),
        (FORM, b"a=b&" * 1_000_000, {413}),
        (FORM, b"paths=" + b"%61" * 1_000_000, {200}),
        (FORM, b"&" * 4_000_000, {200, 413}),
        (FORM, b"a" * 5_000_000, {413}),
    ],
)
def test_s24_deep_long_and_many_are_refused_or_cost_little(
    live: Live, headers: dict[str, str], body: bytes, expected: set[int]
) -> None:
    answer = live.ask(PATHS_INFO, "POST", headers, body)
    assert answer.status in expected
    assert len(answer.body) < 10_000
    assert not any(one.exc_info for one in live.log)


# Where a proxy before us may have seen the request end

POST = f"POST {PATHS_INFO} HTTP/1.1\r\nHost: x\r\n".encode()
OTHER = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
DOUBTFUL = [
    *[
        POST + headers + b"\r\n\r\n" + OTHER
        for headers in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: \x0bchunked",
            b"Transfer-Encoding : chunked",
            b'Transfer-Encoding: "chunked"',
            b"Transfer-Encoding:\r\n chunked",
            b"X: y\rTransfer-Encoding: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"X: y\r\n Content-Length: 5",
            b"Content-Length: +5",
            b"Content-Length: -5",
            b"Content-Length: 0x5",
            b"Content-Length: 0_5",
            b"Content-Length: 5, 5",
            b"Content-Length: 5 5",
            b"Content-Length: 5\r\nContent-Length: 5",
            b"Content-Length: ",
            b"Content-Length: 99999999999999999999999",
            b"Content-Length: \xd9\xa5",
            b"X\0: y",
            b"X: \0",
            b"Host: y",
        )
    ],
    *[
        CHUNKED + body + OTHER
        for body in (
            b"0x3\r\nabc\r\n",
            b"-1\r\nabc\r\n",
            b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
            b"3;a\nb\r\nabc\r\n",
            b"3 \r\nabc\r\n",
            b"3\nabc\n",
            b"3\r\nabcXX",
            b"0\r\nContent-Length: 60\r\n\r\n",
        )
    ],
    CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + OTHER,
    CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0\r\nConnection: keep-alive", 1) + OTHER,
    b"GET /\r\n\r\n" + OTHER,
    b"GET / HTTP/0.9\r\nHost: x\r\n\r\n" + OTHER,
    b"GET / HTTP/1.1\nHost: x\n\n" + OTHER,
    b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n" + OTHER,
    b"GET / x HTTP/1.1\r\nHost: x\r\n\r\n" + OTHER,
    b"GET / HTTP/1.1\r\n\r\n" + OTHER,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + OTHER,
]


@pytest.mark.parametrize("number", range(len(DOUBTFUL)))
def test_s32_what_ends_nobody_knows_where_is_refused_and_the_connection_closed(
    live: Live, number: int
) -> None:
    """What stands behind it is not taken for a request of somebody else."""
    live.log.clear()
    answer = talk(live, DOUBTFUL[number])
    assert answer.split(b" ")[1] == b"400"
    assert not any("/smuggled " in one for one in live.requests())
    assert answer.count(b"\r\nDate: ") == 1
    assert not any(one.exc_info for one in live.log)


@pytest.mark.parametrize("expected", [b"200-ok", b"x", b"\xff", b"100-continue, x"])
@pytest.mark.parametrize(
    "line", [b"GET /healthz", b"CONNECT x:1", b"OPTIONS *", b"GET http://x"]
)
def test_s32_what_nobody_can_meet_is_not_expected(
    live: Live, line: bytes, expected: bytes
) -> None:
    """It used to end the connection without an answer, and fill the log."""
    lines = [line + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    answer = talk(live, b"\r\n".join([*lines, b"Expect: " + expected, b"", b""]))
    assert answer.startswith(b"HTTP/1.1 417")
    assert b"\r\nServer: hubsync/" in answer
    assert b"\r\nX-Request-Id: " in answer
    assert not any(one.exc_info for one in live.log)


def test_s32_a_body_is_asked_for_where_one_is_expected(live: Live) -> None:
    more = b"Content-Length: 17\r\nConnection: close\r\nExpect: 100-Continue\r\n\r\n"
    answer = talk(live, POST + more + b"paths=config.json")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


# Who may read what


def test_s34_a_grant_for_one_kind_or_owner_is_none_for_another(
    own_mirror: Mirror,
) -> None:
    """Every token at every route of every repo; equal names of three types."""
    names = [f"{owner}/x" for owner in ("acme", "acme2", "ac", "rival")]
    for kind, name in itertools.product(RepoType, names):
        own_mirror.publish(
            name, {"f.txt": File(b"f")}, repo_type=kind, commit=f"{kind} {name}"
        )
    own_mirror.publish("acme/y", {"f.txt": File(b"f")}, upstream="local", commit="y")
    ours = {f"{kind.plural}/acme/x" for kind in RepoType}
    grants = {  # without a type: of every type
        "acme/*": {*ours, "models/acme/y"},
        "datasets/acme/*": {"datasets/acme/x"},
        "spaces/acme/x": {"spaces/acme/x"},
        "local:*": {"models/acme/y"},
        "acme/x": ours,
        "nobody/*": set(),
    }
    repos = [f"{kind.plural}/{name}" for kind in RepoType for name in names]
    repos.append("models/acme/y")
    routes = [
        "/api/{repo}", "/api/{repo}/tree/main", "/api/{repo}/refs",
        "/api/{repo}/likers", "/api/{repo}/commits/main", "/api/{repo}/treesize/main",
        "/api/{repo}/auth-check", "/api/{repo}/revision/main",
        "/{files}/resolve/main/f.txt",
        "/{files}/raw/main/f.txt", "/api/{repo}/xet-read-token/main",
    ]  # fmt: skip
    with serving(own_mirror, auth="tokens", xet="always") as live:
        for number, (glob, opens) in enumerate(grants.items()):
            token = give(own_mirror, f"t{number}", glob)
            for repo, route in itertools.product(repos, routes):
                files = repo.removeprefix("models/")
                target = route.format(repo=repo, files=files)
                expected = 200 if repo in opens else 404
                assert status(live, target, token) == expected, (glob, target)
            for kind in RepoType:
                listed = live.ask(f"/api/{kind.plural}", headers=bearer(token)).json()
                seen = {f"{kind.plural}/{one['id']}" for one in listed}
                assert seen == {one for one in opens if one.startswith(kind.plural)}


# What upstream says, in what we send

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_s39_nothing_that_a_card_says_is_a_page(own_mirror: Mirror) -> None:
    """There are no pages here: JSON and plain text, and no type to be guessed."""
    card: dict[str, object] = {
        "id": "a/b", "tags": [SCRIPT], "pipeline_tag": SCRIPT, "cardData": {SCRIPT: 1},
    }  # fmt: skip
    readme = File(f"---\nlicense: '{SCRIPT}'\n---\n# {SCRIPT}\n".encode())
    page = File(f"<!doctype html><html>{SCRIPT}</html>".encode())
    files = {"README.md": readme, "index.html": page, f"{SCRIPT[:8]}.svg": page}
    own_mirror.publish("a/b", files, card=card)
    own_mirror.publish("a/own", files, upstream="local", commit="own")
    spelt = quote(SCRIPT, safe="")
    shown = []
    with serving(own_mirror) as live:
        for target in (
            "/", "/api/models", "/api/models?full=true&cardData=true",
            "/api/models/a/b",
            "/api/models/a/own", "/a/b/resolve/main/README.md",
            "/a/b/resolve/main/index.html", "/a/b/resolve/main/nothing",
            "/a/b/raw/main/index.html",
            f"/a/b/resolve/main/{quote(SCRIPT[:8])}.svg", "/api/models/a/b/tree/main",
            f"/{spelt}", f"/{spelt}/{spelt}/resolve/main/x", f"/a/b/resolve/{spelt}/x",
            f"/api/models/a/b/tree/main/{spelt}", f"/api/models?limit={spelt}",
            f"/api/models?sort={spelt}", f"/api/models/a/b?expand={spelt}",
            f"/parquet?dataset={spelt}", f"/v2/a/b/manifests/{spelt}",
        ):  # fmt: skip
            for accept in ("text/html", "*/*"):
                answer = live.get(target, Accept=accept)
                kind = answer.headers["content-type"]
                plain = ("application/json", "text/plain", "application/octet-stream")
                assert kind.startswith(plain), target
                assert answer.headers["x-content-type-options"] == "nosniff", target
                shown.append(b"<script>" in answer.body)
    assert sum(shown) > 10


def test_s41_names_from_upstream_stay_within_their_part_of_a_link(
    own_mirror: Mirror,
) -> None:
    """Each link leads back to the very file, whatever its name looks like."""
    odd = [
        "..%2F..%2Fx", "a?b#c", "a\\..\\b", "\u202egpj", "%00", "a b;c",
        "//evil", "<x>",
    ]  # fmt: skip
    files = {
        f"{config.strip('/')}/train/0000.parquet": File(config.encode(), lfs=True)
        for config in odd
    }
    own_mirror.publish(
        "a/b",
        files,
        repo_type=RepoType.DATASET,
        refs=("refs/convert/parquet", "refs/heads/main"),
        commit="made",
    )
    with serving(own_mirror) as live:
        listed = live.get("/parquet?dataset=a/b").json()["parquet_files"]
        tree = live.get("/api/datasets/a/b/parquet").json()
        urls = [one["url"] for one in listed]
        urls += [url for config in tree.values() for url in config["train"]]
        assert len(urls) == 2 * len(odd)
        for url in urls:
            assert url.startswith(f"{live.url}/"), url
            assert url.isascii()
            parts = urlsplit(url)
            assert not parts.query
            assert not parts.fragment
            answer = live.get(parts.path)
            if answer.status == 302:
                where = answer.headers["location"]
                assert where.startswith(
                    "/datasets/a/b/resolve/refs%2Fconvert%2Fparquet/"
                )
                answer = live.get(where)
            assert answer.status == 200, url
            assert answer.body.decode().strip("/") in unquote(parts.path)
        small = live.get("/api/datasets/a/b/tree/main?recursive=true&limit=1")
        assert small.headers["link"].startswith(f"<{live.url}/api/datasets/a/b/tree/")
        assert small.headers["x-repo-commit"] == oid("made")
