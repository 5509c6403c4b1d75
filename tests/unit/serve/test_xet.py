"""Xet clients served from plain blobs; and that nobody else hears of it."""

import hashlib
import json
import os
import time
from typing import Any

import pytest

from hubsync.model.repo import RepoId, RepoType
from hubsync.serve.grants import Signer
from tests.unit.serve.conftest import BIG, SAFETENSORS
from tests.unit.serve.mirror import Answer, File, Live, Mirror, oid, serving

MODEL = "/acme/tiny-bert/resolve/main/model.safetensors"
HEAD_2 = oid("bert 2")
TOKEN = f"/api/models/acme/tiny-bert/xet-read-token/{HEAD_2}"
SHA = hashlib.sha256(SAFETENSORS).hexdigest()
BIG_SHA = hashlib.sha256(BIG).hexdigest()
SECRET = bytes(range(32))
BERT = RepoId("huggingface", RepoType.MODEL, "acme/tiny-bert")
TREE = "/api/models/acme/tiny-bert/tree/main?recursive=true"


def token(live: Live, route: str = TOKEN) -> str:
    found: str = live.get(route).json()["accessToken"]
    return found


def reconstruct(
    live: Live, file: str, bearer: str, part: str | None = None, version: int = 2
) -> Answer:
    headers = {"Authorization": f"Bearer {bearer}"}
    if part:
        headers["Range"] = part
    return live.ask(f"/_xet/v{version}/reconstructions/{file}", headers=headers)


def fetch(live: Live, answer: Answer) -> bytes:
    """What a client puts together from a reconstruction of version 2."""
    assert answer.status == 200, answer
    body = answer.json()
    found = b""
    for term in body["terms"]:
        (xorb,) = body["xorbs"][term["hash"]]
        (wanted,) = xorb["ranges"]
        first, last = wanted["bytes"]["start"], wanted["bytes"]["end"]
        assert xorb["url"].startswith(live.url)
        got = live.get(xorb["url"][len(live.url) :], Range=f"bytes={first}-{last}")
        assert got.status == 206
        assert len(got.body) == last - first + 1
        found += unframed(got.body)
    return found[body["offset_into_first_range"] :]


def unframed(raw: bytes) -> bytes:
    found, at = b"", 0
    while at < len(raw):
        length = int.from_bytes(raw[at + 1 : at + 4], "little")
        said = b"\0" + length.to_bytes(3, "little")
        assert raw[at : at + 8] == said + said
        found += raw[at + 8 : at + 8 + length]
        at += 8 + length
    assert at == len(raw)
    return found


def xorb_path(live: Live) -> str:
    body = reconstruct(live, SHA, token(live)).json()
    (xorb,) = body["xorbs"].values()
    found: str = xorb[0]["url"][len(live.url) :]
    return found


@pytest.fixture(scope="module")
def always(mirror: Mirror) -> Any:
    with serving(mirror, xet="always", secret=SECRET) as live:
        yield live


class TestSilence:
    def test_by_default_no_answer_of_a_small_mirror_speaks_of_xet(
        self, live: Live
    ) -> None:
        for target in (
            MODEL,
            TREE,
            "/api/models/acme/tiny-bert?blobs=true",
            "/api/models",
            "/api/models/acme/tiny-bert/refs",
        ):
            for method in ("GET", "HEAD"):
                got = live.ask(target, method)
                assert got.status == 200
                spoken = {k: v for k, v in got.headers.items() if "expose" not in k}
                assert "xet" not in str(spoken).lower()
                assert b"xetHash" not in got.body

    def test_a_client_that_prefers_xet_gets_bytes_where_it_is_not_announced(
        self, live: Live
    ) -> None:
        accept = "application/vnd.xet-fileinfo+json, */*"
        got = live.get(MODEL, Accept=accept, Range="bytes=0-0")
        assert (got.status, got.body) == (206, SAFETENSORS[:1])

    def test_off_means_that_there_is_no_token_and_no_store(
        self, mirror: Mirror
    ) -> None:
        with serving(mirror, xet="off") as live:
            assert live.get(TOKEN).status == 404
            assert live.get(f"/_xet/v2/reconstructions/{SHA}").status == 404
            assert live.get(MODEL).body == SAFETENSORS


class TestToken:
    def test_it_says_the_same_in_headers_and_json(self, live: Live) -> None:
        got = live.get("/api/models/acme/tiny-bert/xet-read-token/main")
        body = got.json()
        assert got.status == 200
        assert body["casUrl"] == got.headers["x-xet-cas-url"] == f"{live.url}/_xet"
        assert body["accessToken"] == got.headers["x-xet-access-token"]
        assert str(body["exp"]) == got.headers["x-xet-token-expiration"]
        assert time.time() + 600 < body["exp"] <= time.time() + 3600
        assert got.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        ("route", "code"),
        [
            ("/api/models/acme/none/xet-read-token/main", "RepoNotFound"),
            ("/api/models/acme/tiny-bert/xet-read-token/none", "RevisionNotFound"),
        ],
    )
    def test_there_is_none_for_what_is_not_held(
        self, live: Live, route: str, code: str
    ) -> None:
        got = live.get(route)
        assert (got.status, got.code) == (404, code)

    def test_a_former_name_leads_to_the_present_one(self, live: Live) -> None:
        got = live.get(f"/api/models/acme/old-bert/xet-read-token/{HEAD_2}")
        assert (got.status, got.headers["location"]) == (307, TOKEN)


class TestStore:
    """The token's holder reads, by default too: old caches come straight here."""

    def test_a_whole_file_comes_in_both_versions(self, live: Live) -> None:
        bearer = token(live)
        assert fetch(live, reconstruct(live, SHA, bearer)) == SAFETENSORS
        first = reconstruct(live, SHA, bearer, version=1).json()
        (info,) = first["fetch_info"].values()
        part = info[0]["url_range"]
        url = info[0]["url"][len(live.url) :]
        got = live.get(url, Range=f"bytes={part['start']}-{part['end']}")
        assert unframed(got.body) == SAFETENSORS

    @pytest.mark.parametrize(
        ("first", "last"),
        [(0, 0), (131_071, 131_072), (5, 262_200), (299_999, 10**12), (7, 7)],
    )
    def test_a_part_of_a_file_comes_from_its_pieces_alone(
        self, live: Live, first: int, last: int
    ) -> None:
        answer = reconstruct(live, SHA, token(live), f"bytes={first}-{last}")
        assert fetch(live, answer)[: last + 1 - first] == SAFETENSORS[first : last + 1]
        unpacked = sum(one["unpacked_length"] for one in answer.json()["terms"])
        assert unpacked <= last - first + 1 + 2 * 131_072

    def test_a_range_beyond_the_end_is_416_and_tells_the_size(self, live: Live) -> None:
        part = f"bytes={len(SAFETENSORS)}-{10**9}"
        got = reconstruct(live, SHA, token(live), part)
        assert got.status == 416
        assert got.headers["content-range"] == f"bytes */{len(SAFETENSORS)}"

    def test_head_tells_of_a_xorb_and_sends_none(self, live: Live) -> None:
        got = live.ask(xorb_path(live), "HEAD")
        assert (got.status, got.body) == (200, b"")
        assert int(got.headers["content-length"]) == len(SAFETENSORS) + 3 * 8

    @pytest.mark.parametrize("start", [0, 5, 8, 131_079, 131_080, 131_085])
    def test_any_range_of_a_xorb_is_that_part_of_it(
        self, live: Live, start: int
    ) -> None:
        path = xorb_path(live)
        whole = live.get(path)
        assert whole.status == 200
        assert unframed(whole.body) == SAFETENSORS
        got = live.get(path, Range=f"bytes={start}-{start + 140_000}")
        assert got.body == whole.body[start : start + 140_001]

    def test_a_xorb_of_many_blocks_is_sent_whole(self, live: Live) -> None:
        bearer = token(live, "/api/models/acme/handmade/xet-read-token/main")
        assert fetch(live, reconstruct(live, BIG_SHA, bearer)) == BIG

    def test_a_file_that_is_not_held_is_404(self, live: Live) -> None:
        bearer = token(live, "/api/models/acme/partial/xet-read-token/main")
        sha = hashlib.sha256(b"weights").hexdigest()
        assert reconstruct(live, sha, bearer).status == 404

    @pytest.mark.parametrize(
        "route",
        [
            "/_xet/v1/chunks/default/" + "0" * 64,
            "/_xet/v1/reconstructions/" + "0" * 63,
            "/_xet/v1/reconstructions/" + "A" * 64,
            "/_xet/v1/reconstructions/%30" + "0" * 63,
            "/_xet/v3/reconstructions/" + "0" * 64,
            "/_xet/v1/reconstructions/../../etc/passwd",
            "/_xet/xorbs/" + "0" * 64 + "/-1",
            "/_xet",
        ],
    )
    def test_what_clients_only_try_and_nonsense_is_404(
        self, live: Live, route: str
    ) -> None:
        headers = {"Authorization": f"Bearer {token(live)}"}
        assert live.ask(route, headers=headers).status == 404

    def test_telemetry_and_uploads_are_404(self, live: Live) -> None:
        assert live.ask("/v1/telemetry", "POST", body=b"{}").status == 404
        upload = f"/_xet/v1/xorbs/default/{SHA}"
        assert live.ask(upload, "POST", body=b"x").status == 404

    def test_a_damaged_blob_gives_no_byte(self, own_mirror: Mirror) -> None:
        data = os.urandom(300_000)
        own_mirror.publish("acme/m", {"w.bin": File(data, lfs=True)})
        sha = hashlib.sha256(data).hexdigest()
        with serving(own_mirror) as live:
            bearer = token(live, "/api/models/acme/m/xet-read-token/main")
            body = reconstruct(live, sha, bearer).json()
            (xorb,) = body["xorbs"].values()
            (path,) = (
                one for one in own_mirror.folder.rglob(f"*{sha[-8:]}*") if one.is_file()
            )
            path.chmod(0o644)
            os.truncate(path, 1000)
            got = live.get(xorb[0]["url"][len(live.url) :], Range="bytes=0-99")
            assert got.status >= 500
            assert data[:50] not in got.body


class TestHostile:
    """No bytes without a grant for just these."""

    @pytest.mark.parametrize(
        "bearer",
        ["", "x", "é", "A" * 3000, "eyJhbGciOiJub25lIn0.e30.", "A" * 64, "=" * 64],
    )
    def test_a_made_up_token_opens_nothing(self, live: Live, bearer: str) -> None:
        headers = {
            "Authorization": f"Bearer {bearer}".encode("latin-1").decode("latin-1")
        }
        got = live.ask(f"/_xet/v2/reconstructions/{SHA}", headers=headers)
        assert got.status == 401
        assert live.get(f"/_xet/v2/reconstructions/{SHA}").status == 401
        assert live.get(f"/_xet/xorbs/{SHA}/0").status == 403
        if bearer.isascii():
            assert live.get(f"/_xet/xorbs/{SHA}/0?grant={bearer}").status == 403

    def test_a_token_with_one_bit_changed_opens_nothing(self, live: Live) -> None:
        good = token(live)
        for at in range(0, len(good), 7):
            other = "B" if good[at] == "A" else "A"
            bad = good[:at] + other + good[at + 1 :]
            assert reconstruct(live, SHA, bad).status == 401

    def test_a_token_signed_with_another_secret_opens_nothing(
        self, always: Live
    ) -> None:
        for secret, status in ((b"other", 401), (SECRET, 200)):
            signer = Signer(secret)
            bearer = signer.sign(signer.grant(BERT, HEAD_2))
            assert reconstruct(always, SHA, bearer).status == status

    def test_an_expired_token_and_address_open_nothing(self, always: Live) -> None:
        signer = Signer(SECRET, clock=lambda: time.time() - 3601)
        old = signer.sign(signer.grant(BERT, HEAD_2))
        assert reconstruct(always, SHA, old).status == 401
        assert always.get(f"/_xet/xorbs/{SHA}/0?grant={old}").status == 403

    def test_the_hash_of_another_repos_file_finds_nothing(self, live: Live) -> None:
        mine, theirs = token(live), "/api/models/acme/handmade/xet-read-token/main"
        assert reconstruct(live, BIG_SHA, mine).status == 404
        assert reconstruct(live, SHA, token(live, theirs)).status == 404
        assert live.get(f"/_xet/xorbs/{BIG_SHA}/0?grant={mine}").status == 404

    def test_the_hash_of_another_commits_file_finds_nothing(
        self, own_mirror: Mirror
    ) -> None:
        old, new = b"o" * 1000, b"n" * 1000
        own_mirror.publish("acme/m", {"w": File(old, lfs=True)}, commit="1")
        own_mirror.publish("acme/m", {"w": File(new, lfs=True)}, commit="2", minute=1)
        with serving(own_mirror) as live:
            for commit, mine, other in (("1", old, new), ("2", new, old)):
                route = f"/api/models/acme/m/xet-read-token/{oid(commit)}"
                bearer = token(live, route)
                sha, not_sha = (hashlib.sha256(x).hexdigest() for x in (mine, other))
                assert fetch(live, reconstruct(live, sha, bearer)) == mine
                assert reconstruct(live, not_sha, bearer).status == 404

    def test_the_address_of_one_files_xorb_opens_no_other_file(
        self, own_mirror: Mirror
    ) -> None:
        one, two = b"1" * 1000, b"2" * 1000
        files = {"one": File(one, lfs=True), "two": File(two, lfs=True)}
        own_mirror.publish("acme/m", files)
        shas = [hashlib.sha256(data).hexdigest() for data in (one, two)]
        with serving(own_mirror) as live:
            bearer = token(live, "/api/models/acme/m/xet-read-token/main")
            body = reconstruct(live, shas[0], bearer).json()
            (xorb,) = body["xorbs"].values()
            path = xorb[0]["url"][len(live.url) :]
            assert unframed(live.get(path).body) == one
            assert live.get(path.replace(shas[0], shas[1])).status == 403
            grant = path.partition("grant=")[2]
            assert reconstruct(live, shas[1], grant).status == 403

    def test_a_forgotten_repo_gives_nothing_any_more(self, own_mirror: Mirror) -> None:
        data = b"d" * 1000
        made = own_mirror.publish("acme/m", {"w": File(data, lfs=True)})
        sha = hashlib.sha256(data).hexdigest()
        with serving(own_mirror) as live:
            bearer = token(live, "/api/models/acme/m/xet-read-token/main")
            assert reconstruct(live, sha, bearer).status == 200
            own_mirror.catalog.forget(made.repo, None)
            assert reconstruct(live, sha, bearer).status == 404


class TestAnnounced:
    def test_always_announces_held_lfs_files_and_still_sends_the_bytes(
        self, always: Live
    ) -> None:
        for method in ("GET", "HEAD"):
            got = always.ask(MODEL, method)
            assert got.status == 200
            assert got.headers["x-xet-hash"] == SHA
            assert got.headers["x-linked-size"] == str(len(SAFETENSORS))
            assert got.headers["link"] == (
                f'<{always.url}{TOKEN}>; rel="xet-auth", '
                f"<{always.url}/_xet/v1/reconstructions/{SHA}>; "
                'rel="xet-reconstruction-info"'
            )
            assert got.headers["etag"] == f'"{SHA}"'
        assert always.get(MODEL).body == SAFETENSORS

    def test_plain_and_empty_and_not_held_files_are_never_announced(
        self, always: Live, own_mirror: Mirror
    ) -> None:
        plain = always.get("/acme/tiny-bert/resolve/main/config.json")
        assert "x-xet-hash" not in plain.headers
        own_mirror.publish("acme/m", {"empty": File(b"", lfs=True)})
        with serving(own_mirror, xet="always") as live:
            got = live.get("/acme/m/resolve/main/empty")
            assert (got.status, got.body) == (200, b"")
            assert "x-xet-hash" not in got.headers
        missing = always.get("/acme/partial/resolve/main/weights.bin")
        assert missing.status == 404
        assert "x-xet-hash" not in missing.headers

    def test_auto_announces_only_what_is_larger_than_the_limit(
        self, mirror: Mirror
    ) -> None:
        with serving(mirror, xet_above_bytes=len(SAFETENSORS)) as live:
            assert "x-xet-hash" not in live.ask(MODEL, "HEAD").headers
            big = live.ask("/acme/handmade/resolve/main/model.bin", "HEAD")
            assert big.headers["x-xet-hash"] == BIG_SHA

    def test_a_client_that_prefers_to_hear_about_the_file_does(
        self, always: Live
    ) -> None:
        accept = "application/vnd.xet-fileinfo+json, */*"
        got = always.get(MODEL, Accept=accept, Range="bytes=0-0")
        assert got.status == 200
        assert got.headers["content-type"] == "application/vnd.xet-fileinfo+json"
        assert got.headers["x-linked-size"] == str(len(SAFETENSORS))
        assert got.headers["x-xet-hash"] == json.loads(got.body)["hash"] == SHA
        assert got.headers["etag"] == f'"{SHA}"'


X, Y = "1" * 64, "2" * 64


class TestUpstreamsHash:
    def test_it_leads_to_the_file_and_is_told_to_nobody_by_default(
        self, own_mirror: Mirror
    ) -> None:
        data = b"d" * 1000
        own_mirror.publish("acme/m", {"w": File(data, lfs=True, xet_hash=X)})
        with serving(own_mirror) as live:
            bearer = token(live, "/api/models/acme/m/xet-read-token/main")
            assert fetch(live, reconstruct(live, X, bearer)) == data
            for target in ("tree/main", "revision/main?blobs=true"):
                assert X.encode() not in live.get(f"/api/models/acme/m/{target}").body

    def test_it_is_the_one_that_is_announced(self, own_mirror: Mirror) -> None:
        """So that a client's cache is right for the hub too."""
        files = {
            "ours": File(b"o" * 1000, lfs=True),
            "theirs": File(b"t" * 1000, lfs=True, xet_hash=X),
            "missing": File(b"m" * 1000, lfs=True, held=False, xet_hash=Y),
        }
        own_mirror.publish("acme/m", files)
        with serving(own_mirror, xet="always") as live:
            got = live.ask("/acme/m/resolve/main/theirs", "HEAD")
            assert got.headers["x-xet-hash"] == X
            rows = live.get("/api/models/acme/m/tree/main").json()
            assert [row.get("xetHash") for row in rows] == [None, None, X]
            body = json.dumps({"paths": ["theirs"]}).encode()
            kind = {"Content-Type": "application/json"}
            route = "/api/models/acme/m/paths-info/main"
            (row,) = live.ask(route, "POST", kind, body).json()
            assert row["xetHash"] == X

    def test_a_tree_tells_of_a_file_as_soon_as_it_is_held(
        self, own_mirror: Mirror
    ) -> None:
        data = b"m" * 1000
        own_mirror.publish(
            "acme/m", {"w": File(data, lfs=True, held=False, xet_hash=X)}
        )
        with serving(own_mirror, xet="always") as live:
            tree = "/api/models/acme/m/tree/main"
            assert "xetHash" not in live.get(tree).json()[0]
            own_mirror.publish("acme/m", {"w": File(data, lfs=True, xet_hash=X)})
            assert live.get(tree).json()[0]["xetHash"] == X

    def test_one_hash_for_two_contents_gives_neither(self, own_mirror: Mirror) -> None:
        one, two = b"1" * 1000, b"2" * 1000
        sha = hashlib.sha256(two).hexdigest()
        files = {
            "one": File(one, lfs=True, xet_hash=X),
            "two": File(two, lfs=True, xet_hash=X),
            "liar": File(b"3" * 1000, lfs=True, xet_hash=sha),
        }
        own_mirror.publish("acme/m", files)
        with serving(own_mirror) as live:
            bearer = token(live, "/api/models/acme/m/xet-read-token/main")
            assert reconstruct(live, X, bearer).status == 404
            assert reconstruct(live, sha, bearer).status == 404
