"""What is not held is fetched for those only who may read it."""

from pathlib import Path

import pytest

from tests.pulling import Mirror
from tests.testhub import Lfs, TestHub
from tests.upstream.faulting import QuickMirror
from tests.upstream.test_on_demand import serving

WEIGHTS = bytes(range(256)) * 4_000
OWN, ALICE, BOB = ("hf_" + letter * 34 for letter in "mab")


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub) -> Mirror:
    """With a token of its own, which opens everything."""
    names = ("acme/one", "rival/two", "acme/gated")
    for name in names:
        hub.create_repo(
            name, private=name != "acme/gated", gated=name == "acme/gated"
        ).commit({"config.json": b"{}", "w.bin": Lfs(WEIGHTS)})
    hub.add_token(OWN, approved=set(names), can_read=set(names))
    hub.add_token(ALICE, "alice", approved=set(names), can_read={"acme/one"})
    hub.add_token(BOB, "bob")
    settings = {"HF_TOKEN": OWN, "HUBSYNC_TRANSFER__READ_TIMEOUT": "5s"}
    return QuickMirror(tmp_path / "mirror", hub.endpoint, settings)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_s21_a_token_has_nothing_fetched_that_it_does_not_name(
    hub: TestHub, mirror: Mirror
) -> None:
    token = mirror.json("token", "add", "ours", "--repo", "acme/*")["token"]
    with serving(mirror, auth="tokens") as server:
        for path in ("/rival/two/resolve/main/w.bin", "/api/models/rival/two"):
            assert server.get(path).status == 401
            refused = server.get(path, **bearer(token))
            assert (refused.status, refused.code) == (404, "RepoNotFound")
        assert hub.requests == []
        got = server.get("/acme/one/resolve/main/w.bin", **bearer(token))
        assert got.body == WEIGHTS
        assert not any("rival" in one.path for one in hub.requests)
        shown = {str(one.headers) for one in hub.requests}
        assert not any(token in one for one in shown)
        assert OWN not in str(got.headers)


def test_s21_what_the_mirrors_own_token_opens_is_not_fetched_for_everybody(
    hub: TestHub, mirror: Mirror
) -> None:
    with serving(mirror, auth="pass-through") as server:
        one = "/acme/one/resolve/main/w.bin"
        assert server.get(one).status == 401
        assert server.get(one, **bearer(BOB)).status == 404
        assert server.get("/rival/two/raw/main/w.bin", **bearer(ALICE)).status == 404
        gated = server.get("/acme/gated/resolve/main/w.bin", **bearer(BOB))
        assert gated.status == 404
        asked = {one.path.rpartition("/")[2] for one in hub.requests}
        assert asked == {"auth-check"}
        assert server.get(one, **bearer(ALICE)).body == WEIGHTS
        assert server.get(one, **bearer(BOB)).status == 404
        assert server.get(one).status == 401
        # Asked about readers with theirs, for contents with the mirror's own.
        for seen in hub.requests:
            headers = {k.lower(): v for k, v in seen.headers.items()}
            is_question = seen.path.endswith("/auth-check")
            assert (headers.get("authorization") == f"Bearer {OWN}") <= (
                not is_question
            )
            if headers.get("authorization") in (f"Bearer {ALICE}", f"Bearer {BOB}"):
                assert is_question
