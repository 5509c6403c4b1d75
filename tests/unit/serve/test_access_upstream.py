"""``serve.auth = "pass-through"``: who may read upstream may read here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.hubs.hf_gate import HfGate
from hubsync.hubs.options import HubOptions
from tests.testhub import Fault, TestHub
from tests.unit.serve.mirror import Answer, File, Live, Mirror, serving
from tests.unit.serve.tenants import bearer

QUICK = HubOptions(connect_timeout_s=1.0, read_timeout_s=0.5, answer_timeout_s=1.0)
NAMES = ("public", "gated", "private", "disabled", "bare")
ALL, NONE = "hf_" + "a" * 34, "hf_" + "n" * 34


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TestHub]:
    with TestHub(tmp_path / "hub") as hub:
        hub.create_repo("acme/public")
        hub.create_repo("acme/gated", gated="manual")
        hub.create_repo("acme/private", private=True)
        hub.create_repo("acme/disabled").disabled = True
        hub.create_repo("acme/bare")
        everything = {f"acme/{name}" for name in NAMES}
        hub.add_token(ALL, approved=everything, can_read=everything)
        hub.add_token(NONE, "bob")
        yield hub


@pytest.fixture
def held(own_mirror: Mirror) -> Mirror:
    """All of them, as they were recorded when they were pulled."""
    for name in NAMES:
        card = {
            "id": f"acme/{name}",
            "private": name == "private",
            "gated": "manual" if name == "gated" else False,
            "disabled": name == "disabled",
        }
        own_mirror.publish(
            f"acme/{name}",
            {"config.json": File(name.encode())},
            commit=name,
            card={} if name == "bare" else card,
            hub_id=f"{name:0>24}",
        )
    own_mirror.publish(
        "acme/local", {"config.json": File(b"local")}, upstream="local", commit="l"
    )
    return own_mirror


@pytest.fixture
def live(hub: TestHub, held: Mirror) -> Iterator[Live]:
    gate = HfGate({"huggingface": hub.endpoint}, QUICK)
    with serving(held, gate=gate, auth="pass-through") as live:
        yield live


def read(live: Live, name: str, token: str | None = None) -> Answer:
    return live.ask(
        f"/acme/{name}/resolve/main/config.json", headers=bearer(token) if token else {}
    )


def asked(hub: TestHub) -> int:
    return len(hub.hub_requests("auth-check"))


def test_what_is_public_needs_no_question(live: Live, hub: TestHub) -> None:
    for name in ("public", "local"):
        for token in (None, NONE, "garbage"):
            answer = read(live, name, token)
            assert (answer.status, answer.body) == (200, name.encode())
    assert hub.requests == []


def test_the_upstream_decides_by_the_clients_own_token(
    live: Live, hub: TestHub
) -> None:
    for name in ("gated", "private", "bare"):
        assert read(live, name, ALL).body == name.encode()
    assert read(live, "bare").status == 200
    assert read(live, "gated").status == 401
    assert read(live, "gated").code == "GatedRepo"
    assert read(live, "gated", NONE).status == 403
    assert read(live, "gated", NONE).code == "GatedRepo"
    hidden, missing = read(live, "private", NONE), read(live, "missing", NONE)
    assert (hidden.status, hidden.code) == (404, "RepoNotFound")
    assert hidden.body == missing.body.replace(b"missing", b"private")
    hidden, missing = read(live, "private"), read(live, "missing")
    assert (hidden.status, hidden.code) == (401, "RepoNotFound")
    assert hidden.body == missing.body
    disabled = read(live, "disabled", ALL)
    assert disabled.status == 403
    said = "Access to this resource is disabled."
    assert disabled.headers["x-error-message"] == said
    headers = [{k.lower(): v for k, v in one.headers.items()} for one in hub.requests]
    shown = {one.get("authorization") for one in headers}
    assert shown == {None, f"Bearer {ALL}", f"Bearer {NONE}"}


def test_a_wrong_token_does_not_tell_what_is_held(live: Live) -> None:
    hidden, missing = read(live, "private", "hf_x"), read(live, "missing", "hf_x")
    assert hidden.status == missing.status == 401
    assert hidden.body == missing.body
    assert "Invalid credentials" in hidden.headers["x-error-message"]


def test_of_a_gated_repo_everybody_sees_what_the_hub_shows(live: Live) -> None:
    for path in ("", "/revision/main", "/tree/main", "/refs", "/treesize/main"):
        assert live.get(f"/api/models/acme/gated{path}").status == 200
    for path in ("/commits/main", "/auth-check", "/xet-read-token/main"):
        answer = live.get(f"/api/models/acme/gated{path}")
        assert (answer.status, answer.code) == (401, "GatedRepo")
    assert live.get("/acme/gated/raw/main/config.json").code == "GatedRepo"
    shown = live.get("/api/models/acme/private/tree/main")
    assert shown.code == "RepoNotFound"


def test_what_everybody_sees_of_a_gated_repo_needs_no_upstream(
    hub: TestHub, held: Mirror
) -> None:
    gate = HfGate({"huggingface": "http://127.0.0.1:9"}, QUICK)
    paths = ("", "/revision/main", "/tree/main", "/refs", "/treesize/main")
    with serving(held, gate=gate, auth="pass-through") as live:
        for token in (None, NONE, "garbage"):
            headers = bearer(token) if token else {}
            for path in paths:
                shown = live.ask(f"/api/models/acme/gated{path}", headers=headers)
                assert shown.status == 200, path
            # Who may have the files, what is hidden, and what nobody has said of a
            # repo is for the upstream to say.
            for path in (
                "/acme/gated/resolve/main/config.json",
                "/api/models/acme/gated/commits/main",
                "/api/models/acme/private",
                "/api/models/acme/bare/tree/main",
            ):
                assert live.ask(path, headers=headers).status == 503, path


def test_of_a_disabled_repo_everybody_sees_what_the_hub_shows(live: Live) -> None:
    assert live.get("/api/models/acme/disabled").json()["disabled"] is True
    assert live.get("/api/models/acme/disabled/tree/main").status == 200
    assert read(live, "disabled", ALL).status == 403


def test_lists_name_what_is_public_knowledge(live: Live) -> None:
    """Not what is private: upstream would have to be asked about each."""
    for token in (None, NONE, ALL):
        headers = bearer(token) if token else {}
        found = live.ask("/api/models", headers=headers).json()
        names = sorted(one["id"].removeprefix("acme/") for one in found)
        assert names == ["disabled", "gated", "local", "public"]


def test_an_answer_counts_for_a_while(live: Live, hub: TestHub) -> None:
    for _ in range(3):
        assert read(live, "private", ALL).status == 200
        assert read(live, "private", NONE).status == 404
        assert read(live, "private").status == 401
    assert asked(hub) == 3


def test_an_answer_counts_no_longer_than_configured(hub: TestHub, held: Mirror) -> None:
    gate = HfGate({"huggingface": hub.endpoint}, QUICK)
    with serving(held, gate=gate, auth="pass-through", auth_cache_s=0.0) as live:
        assert read(live, "private", ALL).status == 200
        hub.add_token(ALL, can_read=set())
        assert read(live, "private", ALL).status == 404
        hub.add_token(ALL, can_read={"acme/private"})
        assert read(live, "private", ALL).status == 200


def test_an_upstream_that_is_down_keeps_what_is_public_open_and_the_rest_shut(
    hub: TestHub, held: Mirror
) -> None:
    gate = HfGate({"huggingface": "http://127.0.0.1:9"}, QUICK)
    with serving(held, gate=gate, auth="pass-through") as live:
        for name in ("public", "local"):
            assert read(live, name, ALL).status == 200
        for name in ("private", "gated", "bare", "missing"):
            answer = read(live, name, ALL)
            assert answer.status == 503
            assert answer.headers["retry-after"] == "2"
            assert "who may read" in answer.json()["error"]
            assert "127.0.0.1" not in answer.json()["error"]


def test_a_yes_outlives_the_upstream_as_long_as_it_counts(
    live: Live, hub: TestHub
) -> None:
    assert read(live, "private", ALL).status == 200
    hub.faults.add(Fault("status", "auth-check", status=503, times=-1))
    assert read(live, "private", ALL).status == 200
    assert read(live, "gated", ALL).status == 503


def who(live: Live, token: str | None = None) -> Answer:
    return live.ask("/api/whoami-v2", headers=bearer(token) if token else {})


def test_whose_a_token_is_says_the_upstream(live: Live, hub: TestHub) -> None:
    alice, bob = who(live, ALL), who(live, NONE)
    assert alice.status == bob.status == 200
    assert (alice.json()["name"], bob.json()["name"]) == ("alice", "bob")
    assert bob.json()["type"] == "user"
    assert bob.json()["orgs"] == []
    assert bob.json()["auth"]["accessToken"] == {"displayName": "test", "role": "read"}
    assert who(live, ALL).json() == alice.json()
    asked = hub.hub_requests("whoami-v2")
    headers = [{k.lower(): v for k, v in one.headers.items()} for one in asked]
    # Once each, with their own.
    shown = [one.get("authorization") for one in headers]
    assert shown == [f"Bearer {ALL}", f"Bearer {NONE}"]


def test_a_token_that_the_upstream_refuses_is_nobodys(live: Live, hub: TestHub) -> None:
    for _ in range(2):
        refused = who(live, "hf_" + "x" * 34)
        assert refused.status == 401
        assert "Invalid credentials" in refused.headers["x-error-message"]
    assert len(hub.hub_requests("whoami-v2")) == 1
    nobody = who(live)
    assert nobody.status == 401
    assert "www-authenticate" in nobody.headers
    assert len(hub.hub_requests("whoami-v2")) == 1


def test_nobody_is_known_while_the_upstream_does_not_answer(
    hub: TestHub, held: Mirror
) -> None:
    gate = HfGate({"huggingface": "http://127.0.0.1:9"}, QUICK)
    with serving(held, gate=gate, auth="pass-through") as live:
        answer = who(live, ALL)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "2"
        assert who(live).status == 401


def test_a_reader_who_was_approved_goes_on_reading_while_the_upstream_is_down(
    hub: TestHub, held: Mirror
) -> None:
    """Beyond `auth_cache`, for `auth_stale`; nobody else comes in by it."""
    gate = HfGate({"huggingface": hub.endpoint}, QUICK)
    with serving(held, gate=gate, auth="pass-through", auth_cache_s=0.0) as live:
        for name in ("gated", "private"):
            assert read(live, name, ALL).status == 200
            assert read(live, name, NONE).status in (403, 404)
        assert who(live, ALL).json()["name"] == "alice"
        for fault in (
            Fault("status", "/api/", status=503, times=-1),
            Fault("reset", "/api/", times=-1),
            Fault("silence", "/api/", times=-1),
        ):
            hub.faults.clear()
            hub.faults.add(fault)
            for _ in range(2):
                for name in ("gated", "private"):
                    assert read(live, name, ALL).body == name.encode(), fault
                    assert read(live, name, NONE).status == 503
                    assert read(live, name).status == 503
                assert who(live, ALL).json()["name"] == "alice"
        hub.stop()
        assert read(live, "private", ALL).status == 200


def test_a_reader_who_was_approved_is_shut_out_after_auth_stale(
    hub: TestHub, held: Mirror
) -> None:
    gate = HfGate({"huggingface": hub.endpoint}, QUICK)
    options = {"auth_cache_s": 0.0, "auth_stale_s": 0.0}
    with serving(held, gate=gate, auth="pass-through", **options) as live:
        assert read(live, "private", ALL).status == 200
        hub.stop()
        assert read(live, "private", ALL).status == 503


def test_s17_a_redirect_elsewhere_takes_no_token_along(
    live: Live, hub: TestHub, tmp_path: Path
) -> None:
    with TestHub(tmp_path / "other") as other:
        other.create_repo("acme/private")
        target = f"{other.endpoint}/api/models/acme/private/auth-check"
        hub.faults.add(Fault("redirect", "auth-check", location=target, times=-1))
        assert read(live, "private", ALL).status == 503
        assert not any(ALL in str(one.headers) for one in other.requests)


@pytest.mark.parametrize("shown", ["Bearer", "Bearer a b", "Digest x", "Basic !"])
def test_what_is_no_token_is_not_sent_on(live: Live, hub: TestHub, shown: str) -> None:
    answer = live.get("/acme/private/resolve/main/config.json", Authorization=shown)
    assert answer.status == 401
    assert hub.requests == []


def test_the_upstreams_word_is_asked_for_in_the_repos_own_name(
    live: Live, hub: TestHub
) -> None:
    assert live.ask("/api/models/ACME/Private", headers=bearer(ALL)).status == 307
    assert live.ask("/api/models/ACME/Private", headers=bearer(NONE)).status == 404
    assert {one.path for one in hub.requests} == {"/api/models/acme/private/auth-check"}
