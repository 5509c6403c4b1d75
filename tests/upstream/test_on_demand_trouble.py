"""Fetching on demand: which commit is meant, what may be asked, whose trouble it is."""

import json
from pathlib import Path

import pytest

from tests.pulling import Mirror
from tests.testhub import Fault, HubRepo, Lfs, TestHub
from tests.upstream.faulting import QuickMirror
from tests.upstream.test_on_demand import Got, serving

WEIGHTS = bytes(range(256)) * 4_000
TINY = "/api/models/acme/tiny"


@pytest.fixture
def mirror(tmp_path: Path, hub: TestHub) -> Mirror:
    settings = {
        "HUBSYNC_TRANSFER__READ_TIMEOUT": "5s",
        # What fails is given up before clients are told to come back later.
        "HUBSYNC_TRANSFER__RETRIES": "1",
    }
    return QuickMirror(tmp_path / "mirror", hub.endpoint, settings)


@pytest.fixture
def repo(hub: TestHub) -> HubRepo:
    repo = hub.create_repo("acme/tiny")
    repo.commit({"config.json": b"{}", "w.bin": Lfs(WEIGHTS)})
    return repo


def denying(mirror: Mirror, *globs: str) -> None:
    config = mirror.root.parent / "hubsync.toml"
    config.write_text(f"[serve]\ndeny = {json.dumps(globs)}\n")
    mirror.settings = {**mirror.settings, "HUBSYNC_CONFIG": str(config)}


def sha(got: Got) -> str:
    found: str = json.loads(got.body)["sha"]
    return found


@pytest.mark.parametrize(
    "met_by", ["refs%2Ftags%2Fv1", "v1", "refs%2Fpr%2F1", "COMMIT"]
)
def test_a_repo_first_met_by_another_revision_has_its_own_main(
    hub: TestHub, repo: HubRepo, mirror: Mirror, met_by: str
) -> None:
    old = repo.commit({"config.json": b'{"old": 1}'})
    repo.tag("v1", old)
    repo.open_pr(old)
    new = repo.commit({"config.json": b'{"new": 1}'})
    with serving(mirror) as server:
        met_by = met_by.replace("COMMIT", old)
        assert sha(server.get(f"{TINY}/revision/{met_by}")) == old
        assert sha(server.get(TINY)) == new
        for revision in ("HEAD", "main"):
            got = server.get(f"/acme/tiny/resolve/{revision}/config.json")
            assert (got.status, got.headers["x-repo-commit"]) == (200, new)
        assert sha(server.get(f"{TINY}/revision/{met_by}")) == old


def test_a_repo_of_which_only_a_tag_is_held_is_shown_with_the_upstream_gone(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    old = repo.commit({"config.json": b'{"old": 1}'})
    repo.tag("v1", old)
    repo.commit({"config.json": b'{"new": 1}'})
    mirror.pull("acme/tiny", "v1")
    hub.stop()
    with serving(mirror) as server:
        assert sha(server.get(TINY)) == old
        assert server.get("/acme/tiny/resolve/main/config.json").status == 503
        assert server.get("/acme/tiny/resolve/v1/config.json").body == b'{"old": 1}'


@pytest.mark.parametrize(
    "deny", ["acme/SECRET-*", "models/x,huggingface:acme/secret-*"]
)
def test_s15_what_is_denied_is_not_had_under_another_spelling(
    hub: TestHub, mirror: Mirror, deny: str
) -> None:
    hidden = hub.create_repo("acme/public")
    hidden.commit({"config.json": b"{}"})
    hidden.rename("acme/secret-one")
    denying(mirror, *deny.split(","))
    with serving(mirror) as server:
        for name in ("acme/secret-one", "ACME/Secret-One", "acme/public"):
            got = server.get(f"/api/models/{name}")
            assert (got.status, got.code) == (404, "RepoNotFound")
            got = server.get(f"/{name}/resolve/main/config.json")
            assert (got.status, got.code) == (404, "RepoNotFound")
    assert mirror.run("list", "--json").stdout == ""


def test_a_revision_that_nobody_may_ask_for_is_no_missing_repo(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    """A client that hears "no such repo" would forget what it has of it."""
    mirror.pull("acme/tiny")
    repo.delete()
    with serving(mirror) as server:
        got = server.get(f"{TINY}/revision/v9")
        assert (got.status, got.code) == (404, "RevisionNotFound")
        assert server.get("/acme/tiny/resolve/main/w.bin").body == WEIGHTS
    denying(mirror, "acme/*")
    with serving(mirror) as server:
        got = server.get(f"{TINY}/revision/v9")
        assert (got.status, got.code) == (404, "RevisionNotFound")


def test_what_fails_with_one_repo_keeps_nobody_from_another(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.create_repo("acme/other").commit({"w.bin": Lfs(WEIGHTS[::-1])})
    with serving(mirror) as server:
        hub.faults.add(Fault("status", match="acme/tiny", status=500, times=-1))
        assert server.get(TINY).status == 503
        asked = len(hub.requests)
        again = server.get(TINY)
        assert again.status == 503
        assert 0 < int(again.headers["retry-after"]) <= 10
        assert len(hub.requests) == asked
        got = server.get("/acme/other/resolve/main/w.bin")
        assert got.body == WEIGHTS[::-1]


def test_a_file_that_fails_keeps_nobody_from_another_repo(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    hub.create_repo("acme/other").commit({"w.bin": Lfs(WEIGHTS[::-1])})
    with serving(mirror) as server:
        hub.faults.add(Fault("status", match="tiny/resolve", status=500, times=-1))
        assert server.get("/acme/tiny/resolve/main/w.bin").status == 503
        got = server.get("/acme/other/resolve/main/w.bin")
        assert got.body == WEIGHTS[::-1]


def test_an_upstream_that_is_gone_is_not_asked_for_others_either(
    hub: TestHub, repo: HubRepo, mirror: Mirror
) -> None:
    """And nobody is told what another one has asked for."""
    with serving(mirror) as server:
        hub.faults.add(Fault("reset", times=-1))
        assert server.get("/api/models/acme/private-plan").status == 503
        asked = len(hub.requests)
        got = server.get(TINY)
        assert got.status == 503
        assert b"private-plan" not in got.body
        assert len(hub.requests) == asked


@pytest.mark.parametrize("kind", ["silence", "stall"])
def test_a_file_that_does_not_come_is_a_503_in_time(
    hub: TestHub, repo: HubRepo, mirror: Mirror, kind: str
) -> None:
    """Clients that have their headers wait for the body, and never try again."""
    with serving(mirror) as server:
        assert server.get(TINY).status == 200
        hub.faults.add(Fault(kind, role="cdn", times=-1))  # type: ignore[arg-type]
        got = server.get("/acme/tiny/resolve/main/w.bin")
        assert got.status == 503
        assert int(got.headers["retry-after"]) > 0
        hub.faults.clear()
        while (got := server.get("/acme/tiny/resolve/main/w.bin")).status == 503:
            pass
        assert got.body == WEIGHTS
