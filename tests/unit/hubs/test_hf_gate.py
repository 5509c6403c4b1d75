"""Asking the Hub about somebody else's token: only there, and only with that one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubsync.hubs.hf_gate import HfGate
from hubsync.hubs.options import HubOptions
from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.gate import Account, GateUnavailableError, Verdict
from tests.testhub import Fault, TestHub
from tests.unit.hubs.asking import repo_of
from tests.unit.hubs.scripted import Scripted, http_answer

QUICK = HubOptions(connect_timeout_s=1.0, read_timeout_s=0.5, answer_timeout_s=1.0)
OWN = "hf_mirrorsOwnTokenThatNobodyElseGets"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[TestHub]:
    with TestHub(tmp_path / "hub") as hub:
        hub.create_repo("acme/public")
        hub.create_repo("acme/gated", gated="manual")
        hub.create_repo("acme/private", private=True)
        hub.create_repo("acme/disabled").disabled = True
        hub.create_repo("acme/old").rename("acme/new")
        hub.create_repo("acme/table", "dataset", private=True)
        hub.add_token("hf_none")
        hub.add_token("hf_all", approved={"acme/gated"}, can_read={"acme/private"})
        hub.add_token("hf_table", can_read={"acme/table"})
        yield hub


def ask(endpoint: str, repo: RepoId | str, token: str | None = None) -> Verdict:
    gate = HfGate({"huggingface": endpoint}, QUICK)
    asked = repo_of(repo) if isinstance(repo, str) else repo
    return asyncio.run(gate.may_read(asked, token))


@pytest.mark.parametrize(
    ("name", "token", "expected"),
    [
        ("acme/public", None, Verdict.YES),
        ("acme/public", "hf_none", Verdict.YES),
        ("acme/old", "hf_none", Verdict.YES),
        ("acme/gated", None, Verdict.GATED),
        ("acme/gated", "hf_none", Verdict.GATED),
        ("acme/gated", "hf_all", Verdict.YES),
        ("acme/private", None, Verdict.NO),
        ("acme/private", "hf_none", Verdict.NO),
        ("acme/private", "hf_garbage", Verdict.WRONG_TOKEN),
        ("acme/private", "hf_all", Verdict.YES),
        ("acme/disabled", "hf_all", Verdict.DISABLED),
        ("acme/nothing", None, Verdict.NO),
        ("acme/nothing", "hf_all", Verdict.NO),
    ],
)
def test_the_hubs_answer_is_understood(
    hub: TestHub, name: str, token: str | None, expected: Verdict
) -> None:
    assert ask(hub.endpoint, name, token) is expected


def test_the_type_of_a_repo_is_asked_for(hub: TestHub) -> None:
    table = repo_of("acme/table", RepoType.DATASET)
    assert ask(hub.endpoint, table, "hf_table") is Verdict.YES
    assert ask(hub.endpoint, "acme/table", "hf_table") is Verdict.NO


def test_s21_only_the_clients_own_token_goes_along(
    hub: TestHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the mirror's, nor a stored login, nor what netrc has."""
    monkeypatch.setenv("HF_TOKEN", OWN)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert ask(hub.endpoint, "acme/private") is Verdict.NO
    assert ask(hub.endpoint, "acme/private", "hf_all") is Verdict.YES
    shown = [
        {k.lower(): v for k, v in one.headers.items()}.get("authorization")
        for one in hub.requests
    ]
    assert shown == [None, "Bearer hf_all"]
    assert not any(OWN in str(one.headers) for one in hub.requests)


def test_s17_a_redirect_elsewhere_gets_no_token_and_opens_nothing(hub: TestHub) -> None:
    def yes(path: str, headers: dict[str, str]) -> bytes:
        return http_answer("200 OK", b"OK")

    with Scripted(yes) as elsewhere:
        target = f"{elsewhere.endpoint}/api/models/acme/private/auth-check"
        hub.faults.add(Fault("redirect", "auth-check", location=target))
        with pytest.raises(GateUnavailableError, match="elsewhere"):
            ask(hub.endpoint, "acme/private", "hf_all")
        for _, headers in elsewhere.asked:
            assert "authorization" not in headers
            assert "hf_all" not in str(headers)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 400, 418])
def test_an_answer_that_is_none_is_neither_yes_nor_no(
    hub: TestHub, status: int
) -> None:
    hub.faults.add(Fault("status", "auth-check", status=status))
    with pytest.raises(GateUnavailableError) as caught:
        ask(hub.endpoint, "acme/public")
    assert not caught.value.silent
    assert caught.value.down is (status == 429 or status >= 500)


@pytest.mark.parametrize("kind", ["reset", "silence"])
def test_no_answer_is_neither_yes_nor_no(hub: TestHub, kind: str) -> None:
    hub.faults.add(Fault(kind, "auth-check"))  # type: ignore[arg-type]
    with pytest.raises(GateUnavailableError) as caught:
        ask(hub.endpoint, "acme/public", "hf_all")
    assert caught.value.silent
    assert caught.value.down
    assert "hf_all" not in str(caught.value)


def whose(endpoint: str, token: str, upstream: str = "huggingface") -> Account | None:
    gate = HfGate({"huggingface": endpoint})
    return asyncio.run(gate.whose(token, upstream))


def test_s21_whose_a_token_is_is_asked_with_that_token(
    hub: TestHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", OWN)
    found = whose(hub.endpoint, "hf_all")
    assert found is not None
    assert found.said["name"] == "alice"
    assert whose(hub.endpoint, "hf_garbage") is None
    assert whose(hub.endpoint, "hf_all", "elsewhere") is None
    assert not any(OWN in str(one.headers) for one in hub.requests)


@pytest.mark.parametrize("status", [429, 500, 503, 404, 418])
def test_an_answer_that_names_nobody_is_none(hub: TestHub, status: int) -> None:
    hub.faults.add(Fault("status", "whoami", status=status))
    with pytest.raises(GateUnavailableError):
        whose(hub.endpoint, "hf_all")


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>", b"[]", b"{}", b'{"name": 7}', b'{"name": ""}', b"[" * 10_000),
        b'{"name": "' + b"x" * 1_000_000 + b'"}',
    ],
    ids=lambda body: body[:12].decode(),
)
def test_what_is_no_account_is_not_passed_on(body: bytes) -> None:
    with (
        Scripted(lambda *_: http_answer("200 OK", body)) as hub,
        pytest.raises(GateUnavailableError),
    ):
        whose(hub.endpoint, "hf_all")


def test_of_an_account_only_what_clients_show_is_passed_on() -> None:
    body = b'{"type":"user","name":"bob","email":"b@x","plan":1,"orgs":[{"name":"o"}]}'
    with Scripted(lambda *_: http_answer("200 OK", body)) as hub:
        found = whose(hub.endpoint, "hf_all")
    assert found is not None
    assert found.said == {"type": "user", "name": "bob", "orgs": [{"name": "o"}]}


def test_a_redirect_elsewhere_names_nobody(hub: TestHub) -> None:
    body = b'{"type":"user","name":"eve","orgs":[]}'
    with Scripted(lambda *_: http_answer("200 OK", body)) as elsewhere:
        target = f"{elsewhere.endpoint}/api/whoami-v2"
        hub.faults.add(Fault("redirect", "whoami", location=target))
        with pytest.raises(GateUnavailableError, match="elsewhere"):
            whose(hub.endpoint, "hf_all")
        assert not any("hf_all" in str(one) for _, one in elsewhere.asked)


def test_an_upstream_that_is_not_configured_any_more_opens_nothing(
    hub: TestHub,
) -> None:
    gone = RepoId("elsewhere", RepoType.MODEL, "acme/public")
    assert ask(hub.endpoint, gone, "hf_all") is Verdict.NO
    assert hub.requests == []


def test_offline_is_obeyed(hub: TestHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants  # noqa: PLC0415

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(GateUnavailableError):
        ask("http://127.0.0.1:9", "acme/public")
