"""What is not held is fetched for those only who may read it."""

import json
import time
from pathlib import Path

import pytest

from tests.pulling import Mirror
from tests.testhub import Lfs, TestHub
from tests.upstream.faulting import QuickMirror
from tests.upstream.test_on_demand import Server, serving

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
        asked = {one.path.rpartition("/")[2] for one in hub.requests}
        assert asked == {"auth-check"}
        gated = server.get("/acme/gated/resolve/main/w.bin", **bearer(BOB))
        assert (gated.status, gated.code) == (403, "GatedRepo")
        assert not any("/resolve/" in one.path for one in hub.requests)
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


GATED = "/api/models/acme/gated"
METADATA = (
    "",
    "/revision/main",
    "/tree/main?recursive=true",
    "/refs",
    "/treesize/main",
)


@pytest.fixture
def unapproved(tmp_path: Path, hub: TestHub) -> Mirror:
    """Its own token opens what is public, and no gate."""
    hub.create_repo("acme/gated", gated="manual").commit(
        {"config.json": b"{}", "w.bin": Lfs(WEIGHTS)}
    )
    hub.create_repo("acme/hers", private=True).commit({"config.json": b"{}"})
    hub.add_token(OWN, "mirror")
    everything = {"acme/gated", "acme/hers"}
    hub.add_token(ALICE, "alice", approved=everything, can_read=everything)
    hub.add_token(BOB, "bob")
    return QuickMirror(tmp_path / "mirror", hub.endpoint, {"HF_TOKEN": OWN})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_hub_shows_of_a_gated_repo_is_shown_though_its_files_are_refused(
    hub: TestHub, unapproved: Mirror, workers: str
) -> None:
    with serving(unapproved, workers=workers) as server:
        for path in METADATA:
            assert server.get(f"{GATED}{path}").status == 200, path
        assert json.loads(server.get(GATED).body)["gated"] == "manual"
        tree = json.loads(server.get(f"{GATED}/tree/main").body)
        assert [one["path"] for one in tree] == ["config.json", "w.bin"]
        for name in ("config.json", "w.bin"):
            for verb in ("resolve", "raw"):
                if (name, verb) == ("w.bin", "raw"):  # a pointer, made here
                    continue
                refused = server.get(f"/acme/gated/{verb}/main/{name}")
                assert (refused.status, refused.code) == (403, "GatedRepo")
                said = refused.headers["x-error-message"]
                assert said.startswith("Access to model acme/gated is restricted")
                assert said == refused.body.decode()


def test_who_is_not_approved_sees_as_much_where_the_upstream_decides(
    hub: TestHub, unapproved: Mirror
) -> None:
    with serving(unapproved, auth="pass-through") as server:
        file = "/acme/gated/resolve/main/config.json"
        assert server.get(file).status == 401
        assert server.get(file, **bearer(BOB)).status == 403
        for headers in ({}, bearer(BOB), bearer(ALICE)):
            for path in METADATA:
                assert server.get(f"{GATED}{path}", **headers).status == 200, path
        # She may have it, the mirror may not: it says whose token is meant.
        refused = server.get(file, **bearer(ALICE))
        assert (refused.status, refused.code) == (403, "GatedRepo")
        assert "mirror" in refused.headers["x-error-message"]


def test_a_gated_repo_that_moves_on_is_looked_at_again(
    hub: TestHub, unapproved: Mirror
) -> None:
    """Also where the gate keeps us from its history."""
    repo, _ = hub.world.find("model", "acme/gated")
    assert repo is not None
    with serving(unapproved, refresh_after="0s") as server:
        first = json.loads(server.get(GATED).body)["sha"]
        second = repo.commit({"new.txt": b"new"})
        assert first != second
        deadline = time.monotonic() + 30
        while json.loads(server.get(GATED).body)["sha"] != second:
            assert time.monotonic() < deadline


def test_a_gate_that_opens_for_the_mirror_gives_its_files(
    hub: TestHub, unapproved: Mirror
) -> None:
    file = "/acme/gated/resolve/main/w.bin"
    with serving(unapproved) as server:
        assert server.get(file).code == "GatedRepo"
        hub.add_token(OWN, "mirror", approved={"acme/gated"})
        assert server.get(file).body == WEIGHTS


def test_a_pull_of_a_gated_repo_is_refused_before_anything_is_recorded(
    hub: TestHub, unapproved: Mirror
) -> None:
    done = unapproved.run("pull", "acme/gated")
    assert done.returncode == 4
    assert "is gated" in done.stderr
    assert not any("/tree/" in one.path for one in hub.requests)


HERS = ("/acme/hers/resolve/main/config.json", "/api/models/acme/hers")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_reader_may_see_and_the_mirror_not_is_named_to_that_reader_alone(
    hub: TestHub, unapproved: Mirror, workers: str
) -> None:
    with serving(unapproved, auth="pass-through", workers=workers) as server:
        for path in HERS:
            for _ in range(2):  # the upstream's no to the mirror is remembered
                told = server.get(path, **bearer(ALICE))
                assert (told.status, told.code) == (403, None)
                said = told.headers["x-error-message"]
                assert "acme/hers" in said
                assert "this mirror's own token" in said
            nothing = path.replace("hers", "none")
            for headers in ({}, bearer(BOB), bearer("hf_" + "x" * 34)):
                assert told_of(server, path, headers) == told_of(
                    server, nothing, headers
                )
            # Neither has what is not there for anybody another reason.
            assert "own token" not in str(server.get(nothing, **bearer(ALICE)))
        shown = [
            (one.path, {k.lower(): v for k, v in one.headers.items()})
            for one in hub.requests
        ]
        for path, headers in shown:
            theirs = headers.get("authorization") not in (None, f"Bearer {OWN}")
            assert theirs <= path.endswith("/auth-check"), path


def told_of(
    server: Server, path: str, headers: dict[str, str]
) -> tuple[int, str | None, bytes]:
    """The answer, whatever the name of the repo is."""
    got = server.get(path, **headers)
    return got.status, got.code, got.body.replace(b"acme/none", b"acme/hers")


def test_what_may_not_be_fetched_by_configuration_is_no_fault_of_the_token(
    hub: TestHub, unapproved: Mirror
) -> None:
    config = unapproved.root.parent / "hubsync.toml"
    config.write_text('[serve]\ndeny = ["acme/*"]\n')
    unapproved.settings = {**unapproved.settings, "HUBSYNC_CONFIG": str(config)}
    with serving(unapproved, auth="pass-through") as server:
        refused = server.get(HERS[0], **bearer(ALICE))
        assert (refused.status, refused.code) == (404, "RepoNotFound")
        assert "own token" not in str(refused)


def test_where_nobody_is_told_by_the_upstream_what_there_is_the_mirror_tells_nobody(
    hub: TestHub, unapproved: Mirror
) -> None:
    with serving(unapproved) as server:
        refused = told_of(server, HERS[0], {})
        assert refused == told_of(server, HERS[0].replace("hers", "none"), {})
        assert refused[:2] == (404, "RepoNotFound")


def test_s21_one_readers_private_bytes_are_not_anothers(
    hub: TestHub, unapproved: Mirror
) -> None:
    """Both repos are read through the mirror's token, each by whom it is for."""
    bobs = hub.create_repo("bob/notes", private=True)
    bobs.commit({"config.json": b"what only bob may read"})
    hub.add_token(OWN, "mirror", can_read={"acme/hers", "bob/notes"})
    hub.add_token(BOB, "bob", can_read={"bob/notes"})
    notes = "/bob/notes/resolve/main/config.json"
    with serving(unapproved, auth="pass-through") as server:
        assert server.get(notes, **bearer(ALICE)).status == 404
        assert server.get(notes, **bearer(BOB)).body == b"what only bob may read"
        assert server.get(HERS[0], **bearer(ALICE)).body == b"{}"
        for _ in range(2):
            for path, other in ((notes, ALICE), (HERS[0], BOB)):
                nothing = "/acme/none/resolve/main/config.json"
                name = path.split("/resolve")[0].strip("/").encode()
                refused = server.get(path, **bearer(other))
                missing = server.get(nothing, **bearer(other))
                assert refused.status == missing.status == 404
                assert refused.body.replace(name, b"acme/none") == missing.body


@pytest.mark.parametrize(("stale", "status"), [("1h", 200), ("0s", 503)])
def test_who_was_let_in_reads_on_as_long_as_it_is_configured(
    hub: TestHub, mirror: Mirror, stale: str, status: int
) -> None:
    one = "/acme/one/resolve/main/w.bin"
    settings = {"auth": "pass-through", "auth_cache": "0s", "auth_stale": stale}
    with serving(mirror, **settings) as server:
        assert server.get(one, **bearer(ALICE)).body == WEIGHTS
        assert server.get(one, **bearer(BOB)).status == 404
        hub.stop()
        for _ in range(3):
            assert server.get(one, **bearer(ALICE)).status == status
            assert server.get(one, **bearer(BOB)).status == 503
            assert server.get(one).status == 503
            assert server.get("/api/models/acme/gated", **bearer(BOB)).status == 503


def test_s21_a_mirror_of_a_mirror_with_tokens_asks_for_them_too(
    hub: TestHub, tmp_path: Path
) -> None:
    """What is public upstream is not where a token is asked for."""
    hub.create_repo("acme/public").commit({"config.json": b"{}"})
    first = QuickMirror(tmp_path / "first", hub.endpoint, {})
    first.pull("acme/public")
    token, other = (
        first.json("token", "add", name, "--repo", globs)["token"]
        for name, globs in (("ours", "acme/*"), ("other", "rival/*"))
    )
    file = "/acme/public/resolve/main/config.json"
    with serving(first, auth="tokens", on_missing="refuse") as above:
        second = QuickMirror(tmp_path / "second", above.url, {"HF_TOKEN": token})
        second.json("pull", "acme/public")
        with serving(second, auth="pass-through", on_missing="refuse") as server:
            assert server.get(file, **bearer(token)).body == b"{}"
            assert server.get(file).status == 401
            assert server.get(file, **bearer(other)).status in (401, 403, 404)
            assert server.get("/api/models/acme/public").status == 401
            assert json.loads(server.get("/api/models").body) == []
