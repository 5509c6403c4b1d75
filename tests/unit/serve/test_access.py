"""``serve.auth = "tokens"``: who shows none gets nothing, the others what is theirs."""

import base64
import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from hubsync.model.token import new_token
from hubsync.serve.cas import Cas
from tests.unit.serve import tenants
from tests.unit.serve.mirror import Answer, Live, Mirror, oid, serving
from tests.unit.serve.tenants import (
    SECRET,
    SECRET_NAME,
    SHARED,
    bearer,
    give,
    status,
)

FILE = "/acme/open/resolve/main/config.json"
THEIRS = "/rival/secret/resolve/main/config.json"


@dataclass(frozen=True)
class Tenants:
    mirror: Mirror
    live: Live
    all: str
    acme: str


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    mirror = tenants.made(tmp_path_factory.mktemp("tenants"))
    everything = give(mirror, "all")
    acme = give(mirror, "acme", "acme/*")
    with serving(mirror, auth="tokens", xet="always") as live:
        yield Tenants(mirror, live, everything, acme)
    mirror.close()


def told(answer: Answer) -> tuple[object, ...]:
    """All that tells one answer from another."""
    changing = ("x-request-id", "date")
    headers = {k: v for k, v in answer.headers.items() if k not in changing}
    return answer.status, headers, answer.body


ROUTES = [
    FILE,
    THEIRS,
    "/acme/open/raw/main/config.json",
    "/datasets/rival/data/resolve/main/x",
    "/api/models",
    "/api/models?search=open&full=true",
    "/api/datasets",
    "/api/spaces",
    "/api/models/acme/open",
    "/api/models/acme/open/revision/main",
    "/api/models/acme/open/tree/main",
    "/api/models/acme/open/treesize/main",
    "/api/models/acme/open/paths-info/main",
    "/api/models/acme/open/refs",
    "/api/models/acme/open/commits/main",
    "/api/models/acme/open/auth-check",
    "/api/models/acme/open/xet-read-token/main",
    "/api/models/acme/open/parquet",
    "/api/models/ACME/open",
    "/api/models/rival/old",
    "/api/models/no/such",
    "/api/whoami-v2",
    "/api/collections",
    "/_xet/v1/reconstructions/" + hashlib.sha256(SHARED).hexdigest(),
    "/_xet/v2/reconstructions/" + hashlib.sha256(SHARED).hexdigest(),
    "/_xet/xorbs/" + hashlib.sha256(SHARED).hexdigest() + "/0",
    "/v1/telemetry",
    "/v2/",
    "/v2/rival/secret/manifests/latest",
    "/v2/rival/secret/blobs/sha256:" + hashlib.sha256(SECRET).hexdigest(),
    "/parquet?dataset=rival/data",
    "/splits?dataset=RIVAL/data",
    "/is-valid?dataset=rival/data",
    "/rows?dataset=rival/data",
    "/api/datasets/rival/data/parquet",
    "/api/datasets/rival/data/parquet/default/train/0.parquet",
    "/api/models/rival/secret/discussions",
    "/api/resolve-cache/models/rival/secret/" + oid("theirs") + "/plans.txt",
    "/api/models-tags-by-type",
    "/metrics/more",
    "/catalog.db",
]


def variants(route: str) -> Iterator[str]:
    path, mark, query = route.partition("?")
    first, _, rest = path[1:].partition("/")
    for one in (
        path,
        f"{path}/",
        f"/{path}",
        path.replace("/", "//"),
        path.upper(),
        path.title(),
        f"{path};x",
        f"{path};/healthz",
        f"/healthz/..{path}",
        f"/healthz;{path}",
        f"/healthz/%2e%2e{path}",
        f"/healthz%2f..{path}",
        f"/./{path[1:]}",
        f"/%2e{path}",
        f"{path}/.",
        f"{path}/%2e%2e/healthz",
        f"{path}%00",
        f"{path}%20",
        f"/%{ord(first[0]):02x}{first[1:]}/{rest}",
        f"{path}?/healthz",
        f"{path}#/healthz",
        f"http://x{path}",
        f"http://x/healthz/..{path}",
    ):
        yield f"{one}{mark}{query}"


HEADERS = [
    {},
    {"X-HTTP-Method-Override": "OPTIONS"},
    {"X-HTTP-Method": "OPTIONS", "X-Method-Override": "OPTIONS"},
    {"X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz"},
    {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    {"X-Forwarded-User": "admin", "X-Remote-User": "admin"},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer hs_" + "A" * 43},
    {"Authorization": "Bearer hf_" + "a" * 34},
    {"Authorization": "Digest x"},
    {"Authorization": "Basic !"},
    {"Authorization": "Basic " + base64.b64encode(b"a:hs_x").decode()},
    {"Host": "a/healthz?"},
    {"Cookie": "token=hs_x"},
    {"If-None-Match": "*"},
    {"If-None-Match": f'"{hashlib.sha256(SHARED).hexdigest()}"'},
]


@pytest.mark.parametrize("route", ROUTES)
def test_s29_no_route_in_no_spelling_gives_anything_to_who_shows_no_token(
    two: Tenants, route: str
) -> None:
    asked: list[tuple[str, str, dict[str, str]]]
    asked = [("GET", one, {}) for one in variants(route)]
    asked += [("GET", route, more) for more in HEADERS]
    asked += [(method, route, {}) for method in ("HEAD", "POST", "PUT", "DELETE")]
    asked += [("PATCH", route, {"X-HTTP-Method-Override": "GET"})]
    refused = 0
    for method, target, headers in asked:
        answer = two.live.ask(target, method, headers)
        # 400: a target or Host that is none; 403 and 404: a grant, or no route.
        assert answer.status in (400, 401, 403, 404), (method, target, headers)
        refused += answer.status == 401
        for name in ("etag", "x-repo-commit", "location", "x-linked-size", "link"):
            assert name not in answer.headers, (method, target, headers)
        # What was asked for may be quoted, and what is held is not.
        for word in (b"theirs", b"plans", SECRET[:10], oid("ours").encode()):
            assert word not in answer.body, (method, target, headers)
    assert refused > 20 or "/_xet/" in route


def test_what_tells_of_nothing_held_is_for_everybody(two: Tenants) -> None:
    for path in ("/", "/healthz", "/api/agent-harnesses"):
        assert status(two.live, path) == 200
        assert status(two.live, path, "wrong") == 200
    preflight = two.live.ask(FILE, "OPTIONS")
    assert (preflight.status, preflight.body) == (204, b"")


def test_a_token_opens_every_route(two: Tenants) -> None:
    for route in ROUTES[:17]:
        if "paths-info" not in route:
            assert status(two.live, route, two.all) == 200, route
    posted = two.live.ask(
        "/api/models/acme/open/paths-info/main",
        "POST",
        {**bearer(two.all), "Content-Type": "application/x-www-form-urlencoded"},
        b"paths=config.json",
    )
    assert posted.status == 200
    for route in (
        "/v2/",
        "/v2/rival/secret/blobs/sha256:" + hashlib.sha256(SECRET).hexdigest(),
        "/parquet?dataset=rival/data",
        "/parquet?dataset=RIVAL/data",
        "/api/datasets/rival/data/parquet",
        "/api/models-tags-by-type",
    ):
        assert status(two.live, route, two.all) == 200, route
    assert status(two.live, "/api/models/no/such", two.all) == 404
    assert status(two.live, "/api/models/ACME/open", two.all) == 307


def test_a_token_is_the_password_of_basic_too(two: Tenants) -> None:
    for user in ("", "anybody", "hf_user"):
        encoded = base64.b64encode(f"{user}:{two.acme}".encode()).decode()
        answer = two.live.ask(FILE, headers={"Authorization": f"Basic {encoded}"})
        assert answer.status == 200


def test_a_token_in_the_address_opens_nothing(two: Tenants) -> None:
    for key in ("token", "access_token", "grant", "private_token"):
        assert status(two.live, f"{FILE}?{key}={two.all}") == 401


def test_two_tokens_at_once_are_none(two: Tenants) -> None:
    with socket.create_connection(two.live.address, timeout=20) as connection:
        lines = [f"GET {FILE} HTTP/1.1", "Host: x", "Connection: close"]
        lines += [f"Authorization: Bearer {one}" for one in (two.all, new_token())]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    # aiohttp refuses it as no request of HTTP's; if it ever takes it, we do not.
    assert int(got.split(b" ")[1]) in (400, 401)


def test_without_a_token_clients_hear_what_the_hub_says_of_private_repos(
    two: Tenants,
) -> None:
    answers = [two.live.get(path) for path in (FILE, THEIRS, "/no/such/raw/a/b")]
    assert len({str(told(one)) for one in answers}) == 1
    (answer, *_) = answers
    assert answer.status == 401
    assert answer.code == "RepoNotFound"
    assert answer.headers["x-error-message"] == "Invalid username or password."
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")
    assert answer.json() == {"error": "Invalid username or password."}
    assert two.live.get("/api/whoami-v2").code is None


def test_a_wrong_token_is_told_apart_from_none(two: Tenants) -> None:
    """Else huggingface_hub says that the repo is not there."""
    for wrong in (new_token(), "hf_" + "a" * 34, "x", two.all[:-1], two.all + "A"):
        answer = two.live.ask(FILE, headers=bearer(wrong))
        assert answer.status == 401
        assert answer.code is None
        said = "Invalid credentials in Authorization header"
        assert answer.headers["x-error-message"] == said
        assert answer.json() == {"error": said}


# What a token does not open


HIDDEN = [
    ("/{}/resolve/main/config.json", "rival/secret"),
    ("/{}/resolve/main/nothing", "rival/secret"),
    ("/{}/resolve/nothing/config.json", "rival/secret"),
    ("/{}/resolve/" + oid("theirs") + "/plans.txt", "rival/secret"),
    ("/{}/raw/main/w.bin", "rival/secret"),
    ("/api/models/{}", "rival/secret"),
    ("/api/models/{}", "rival/old"),
    ("/api/models/{}", "RIVAL/Secret"),
    ("/api/models/{}", "rival/own"),
    ("/api/models/{}/revision/" + oid("theirs"), "rival/secret"),
    ("/api/models/{}/tree/main", "rival/secret"),
    ("/api/models/{}/refs", "rival/secret"),
    ("/api/models/{}/commits/main", "rival/secret"),
    ("/api/models/{}/treesize/main", "rival/secret"),
    ("/api/models/{}/auth-check", "rival/secret"),
    ("/api/models/{}/xet-read-token/main", "rival/secret"),
    ("/api/datasets/{}", "rival/data"),
    ("/datasets/{}/resolve/main/x", "rival/data"),
    ("/api/datasets/{}/parquet", "rival/data"),
    ("/api/datasets/{}/parquet/default/train/0.parquet", "rival/data"),
    ("/api/models/{}/discussions", "rival/secret"),
    ("/api/models/{}/likers", "rival/secret"),
    ("/api/resolve-cache/models/{}/" + oid("theirs") + "/plans.txt", "rival/secret"),
    ("/parquet?dataset={}", "rival/data"),
    ("/parquet?dataset={}", "RIVAL/Data"),
    ("/splits?dataset={}", "rival/data"),
    ("/info?dataset={}", "rival/data"),
    ("/v2/{}/manifests/latest", "rival/secret"),
    ("/v2/{}/manifests/latest", "RIVAL/Secret"),
    ("/v2/{}/blobs/sha256:" + hashlib.sha256(SECRET).hexdigest(), "rival/secret"),
]


@pytest.mark.parametrize(("shape", "name"), HIDDEN)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_s27_what_a_token_does_not_open_looks_like_what_is_not_there(
    two: Tenants, shape: str, name: str, method: str
) -> None:
    """Also under a former name, or in other case: no 307 tells the present one."""
    digest = hashlib.sha256(SHARED).hexdigest()
    absent = "".join("q" if letter.isalpha() else letter for letter in name)
    for more in ({}, {"If-None-Match": f'"{digest}"'}, {"Range": "bytes=0-9"}):
        headers = {**bearer(two.acme), **more}
        hidden, missing = (
            told(two.live.ask(shape.format(one), method, headers))
            for one in (name, absent)
        )
        assert str(hidden) == str(missing).replace(absent, name)
        if method != "POST":  # refused as a write, whatever it is about
            assert hidden[0] == 404


@pytest.mark.parametrize(
    "target",
    [
        "/api/models/acme/open",
        "/api/models/acme/open?blobs=true",
        "/api/models/acme/open?expand[]=private",
        "/api/models/acme/open/revision/main",
        "/api/datasets/rival/data",
    ],
)
def test_what_is_read_by_token_is_said_to_be_private(two: Tenants, target: str) -> None:
    """Else a mirror of this one would take it for everybody's."""
    assert two.live.ask(target, headers=bearer(two.all)).json()["private"] is True
    with serving(two.mirror) as everybodys:
        assert everybodys.get(target).json()["private"] is False


@pytest.mark.parametrize("query", ["", "?full=true", "?expand[]=private"])
def test_lists_say_that_it_is_private(two: Tenants, query: str) -> None:
    for kind in ("models", "datasets"):
        target = f"/api/{kind}{query}"
        items = two.live.ask(target, headers=bearer(two.all)).json()
        assert {one["private"] for one in items} == {True}
        with serving(two.mirror) as everybodys:
            assert {one["private"] for one in everybodys.get(target).json()} == {False}


def test_lists_name_what_a_token_opens_and_no_more(two: Tenants) -> None:
    def names(kind: str, token: str, more: str = "") -> list[str]:
        answer = two.live.ask(f"/api/{kind}?sort=likes{more}", headers=bearer(token))
        return sorted(one["id"] for one in answer.json())

    assert names("models", two.all) == ["acme/open", "rival/own", "rival/secret"]
    assert names("models", two.acme) == ["acme/open"]
    assert names("models", two.acme, "&search=secret") == []
    assert names("models", two.acme, "&author=rival") == []
    assert names("datasets", two.all) == ["rival/data"]
    assert names("datasets", two.acme) == []


def test_s27_bytes_that_both_hold_are_read_through_ones_own_repo_only(
    two: Tenants,
) -> None:
    """Not by digest, not by ETag, not by what Xet calls them."""
    mine = two.live.ask("/acme/open/resolve/main/w.bin", headers=bearer(two.acme))
    assert mine.body == SHARED
    digest = hashlib.sha256(SHARED).hexdigest()
    secret = hashlib.sha256(SECRET).hexdigest()
    got = two.live.ask(
        "/api/models/acme/open/xet-read-token/main", headers=bearer(two.acme)
    ).json()
    cas = bearer(got["accessToken"])
    assert two.live.ask(f"/_xet/v1/reconstructions/{digest}", headers=cas).status == 200
    held = two.live.ask(f"/_xet/v1/reconstructions/{secret}", headers=cas)
    absent = two.live.ask(f"/_xet/v1/reconstructions/{'0' * 64}", headers=cas)
    assert told(held) == told(absent)
    assert held.status == 404
    for target in (f"/{digest}", f"/blobs/{digest}", f"/acme/open/resolve/{digest}/x"):
        assert status(two.live, target, two.acme) == 404
    for path in (SECRET_NAME, "w.bin"):
        matching = {**bearer(two.acme), "If-None-Match": f'"{secret}"'}
        answer = two.live.ask(f"/rival/secret/resolve/main/{path}", headers=matching)
        assert answer.status == 404


def test_globs_are_those_of_the_command_line(two: Tenants) -> None:
    token = give(two.mirror, "globs", "datasets/rival/*", "local:*", "ACME/OPEN")
    for path, expected in (
        ("/api/datasets/rival/data", 200),
        ("/api/models/rival/own", 200),
        ("/api/models/rival/secret", 404),
        ("/api/models/acme/open", 200),
    ):
        assert status(two.live, path, token) == expected


def test_s29_a_family_that_asks_nobody_is_for_those_who_read_everything(
    two: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tell(request: web.Request, raw_path: str) -> web.Response:
        return web.Response(text="of any repo")

    monkeypatch.setattr(Cas, "families", {"v9": tell})
    with serving(two.mirror, auth="tokens") as live:
        assert status(live, "/v9/rival/secret") == 401
        assert status(live, "/v9/rival/secret", two.acme) == 404
        assert status(live, "/v9/rival/secret", two.all) == 200


def test_who_one_is(two: Tenants) -> None:
    answer = two.live.ask("/api/whoami-v2", headers=bearer(two.acme)).json()
    assert answer["name"] == "acme"
    check = two.live.ask("/api/models/acme/open/auth-check", headers=bearer(two.acme))
    assert (check.status, check.body) == (200, b"OK")


def test_answers_are_for_one_reader_and_no_cache(two: Tenants) -> None:
    for path in (FILE, "/acme/open/resolve/main/w.bin", "/api/models/acme/open"):
        answer = two.live.ask(path, headers=bearer(two.acme))
        assert answer.status == 200
        assert answer.headers["cache-control"] == "private"
        assert answer.headers["vary"] == "Authorization"


# As long as it counts


def test_s26_a_revoked_token_is_refused_at_the_next_request(two: Tenants) -> None:
    token = give(two.mirror, "short")
    xet = two.live.ask(
        "/api/models/acme/open/xet-read-token/main", headers=bearer(token)
    ).json()
    file = f"/_xet/v1/reconstructions/{hashlib.sha256(SHARED).hexdigest()}"
    info = two.live.ask(file, headers=bearer(xet["accessToken"])).json()
    (fetch, *_) = info["fetch_info"].values()
    xorb = fetch[0]["url"][len(two.live.url) :]
    assert status(two.live, FILE, token) == 200
    assert status(two.live, xorb) == 200
    two.mirror.catalog.revoke_token("short")
    answer = two.live.ask(FILE, headers=bearer(token))
    assert answer.status == 401
    assert "Invalid credentials" in answer.headers["x-error-message"]
    # Nor does what it was given before open anything any more.
    assert status(two.live, file, xet["accessToken"]) == 403
    assert status(two.live, xorb) == 403


def test_an_expired_token_is_refused(two: Tenants) -> None:
    now = datetime.now(UTC)
    old = give(two.mirror, "old", expires_at=now - timedelta(seconds=1))
    good = give(two.mirror, "good", expires_at=now + timedelta(hours=1))
    assert status(two.live, FILE, old) == 401
    assert status(two.live, FILE, good) == 200


def test_a_catalog_that_was_made_anew_opens_to_nobody(
    two: Tenants, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mirror = tenants.made(tmp_path_factory.mktemp("anew"))
    with serving(mirror, auth="tokens") as live:
        assert status(live, FILE, two.all) == 401
    mirror.close()


def test_s36_a_lookup_does_not_tell_how_far_a_token_agrees(two: Tenants) -> None:
    """A token is found by the beginning of its digest, which no guess steers."""
    found = two.mirror.catalog.find_token
    digest = hashlib.sha256(two.all.encode()).hexdigest()
    assert found(digest) is not None
    assert found(digest[:-1] + ("0" if digest[-1] != "0" else "1")) is None


def test_s35_s38_nothing_is_written_and_nobody_administers_over_http(
    two: Tenants,
) -> None:
    for path in ("/api/tokens", "/tokens", "/admin", "/api/admin", "/login"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = two.live.ask(path, method, bearer(two.all))
            assert answer.status in (403, 404)
            assert "set-cookie" not in answer.headers


def test_open_asks_nobody_and_says_nothing_of_readers(mirror: Mirror) -> None:
    with serving(mirror) as live:
        answer = live.get("/acme/tiny-bert/resolve/main/config.json")
        assert answer.status == 200
        assert "vary" not in answer.headers
        for shown in ("Bearer x", "Digest", ""):
            assert live.get("/api/models", Authorization=shown).status == 200
