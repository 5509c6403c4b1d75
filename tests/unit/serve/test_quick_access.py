"""What one reader has just read quickly opens nothing for another."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.gate import Account, Verdict
from tests.unit.serve import tenants
from tests.unit.serve.mirror import Answer, Live, Mirror, serving
from tests.unit.serve.tenants import bearer, give

NAMES = ("w.bin", "config.json")
THEIRS = [f"/rival/secret/resolve/main/{name}" for name in NAMES] + [
    "/rival/secret/raw/main/config.json",
    "/Rival/SECRET/resolve/main/config.json",
    "/rival/old/resolve/main/config.json",
    "/datasets/rival/data/resolve/main/x",
]
HEADERS: list[dict[str, str]] = [
    {},
    {"Range": "bytes=0-0"},
    {"Range": "bytes=999999999-"},
    {"If-None-Match": "*"},
    {"If-None-Match": '"none"'},
]
LISTS = [
    "/api/models",
    "/api/models?full=true&limit=1",
    "/api/models?author=rival",
    "/api/datasets",
]


@dataclass(frozen=True)
class Two:
    mirror: Mirror
    live: Live
    all: str
    acme: str


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    mirror = tenants.made(tmp_path / "mirror")
    everything, acme = give(mirror, "all"), give(mirror, "acme", "acme/*")
    with serving(mirror, auth="tokens") as live:
        yield Two(mirror, live, everything, acme)
    mirror.close()


def ask_all(live: Live, target: str, token: str | None) -> list[Answer]:
    by = bearer(token) if token else {}
    return [
        live.ask(target, method, {**headers, **by})
        for method in ("HEAD", "GET")
        for headers in HEADERS
    ]


def statuses(live: Live, target: str, token: str | None) -> set[int]:
    return {one.status for one in ask_all(live, target, token)}


def told(answer: Answer) -> tuple[object, ...]:
    changing = ("x-request-id", "date")
    headers = {k: v for k, v in answer.headers.items() if k not in changing}
    return answer.status, headers, answer.body


@pytest.mark.parametrize("target", THEIRS)
def test_a_warm_file_is_for_those_who_may(two: Two, target: str) -> None:
    cold = [told(one) for one in ask_all(two.live, target, two.acme)]
    for _ in range(2):
        assert statuses(two.live, target, two.all) <= {200, 206, 304, 307, 416}
        assert statuses(two.live, target, None) == {401}
        assert statuses(two.live, target, two.acme) == {404}
        assert statuses(two.live, target, "hst_wrong") == {401}
    # And nothing tells whether anybody has read it.
    assert [told(one) for one in ask_all(two.live, target, two.acme)] == cold


def test_warm_lists_name_what_each_may_read(two: Two) -> None:
    live = two.live
    for _ in range(2):
        for target in LISTS:
            everything = live.ask(target, headers=bearer(two.all)).json()
            own = live.ask(target, headers=bearer(two.acme)).json()
            assert everything
            assert all(one["id"].startswith("acme/") for one in own)
            for method in ("GET", "HEAD"):
                assert live.ask(target, method).status == 401
                tag = live.ask(target, method, bearer(two.all)).headers["etag"]
                mine = {**bearer(two.acme), "If-None-Match": tag}
                if own != everything:
                    assert live.ask(target, method, mine).status == 200


def test_a_revoked_token_reads_nothing_more(two: Two) -> None:
    target = THEIRS[1]
    assert 200 in statuses(two.live, target, two.all)
    assert two.mirror.catalog.revoke_token("all")
    assert statuses(two.live, target, two.all) == {401}
    assert two.live.ask("/api/models", headers=bearer(two.all)).status == 401


def test_the_quick_answer_has_what_the_long_one_has(two: Two) -> None:
    """That shared caches keep it for one reader, above all."""
    for target in (THEIRS[1], "/acme/open/resolve/main/w.bin"):
        head = two.live.ask(target, "HEAD", bearer(two.all))
        long = two.live.ask(
            target, "HEAD", {**bearer(two.all), "If-None-Match": '"none"'}
        )
        assert told(head) == told(long)
        assert head.headers["cache-control"] == "private"
        assert "Authorization" in head.headers["vary"]


class Gate:
    """Says of every repo the same, until it says something else."""

    def __init__(self) -> None:
        self.says = Verdict.YES

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        return self.says

    async def whose(self, token: str, upstream: str) -> Account | None:
        return None

    async def close(self) -> None:
        """Nothing is open."""


def test_what_upstream_does_not_allow_any_more_is_not_recalled(
    tmp_path: Path,
) -> None:
    mirror, gate = tenants.made(tmp_path / "mirror"), Gate()
    target, token = THEIRS[1], "hf_" + "a" * 34
    with serving(mirror, gate=gate, auth="pass-through", auth_cache_s=0.0) as live:
        assert 200 in statuses(live, target, token)
        gate.says = Verdict.NO
        assert statuses(live, target, token) == {404}
        assert statuses(live, target, None) == {401}
        gate.says = Verdict.GATED
        assert statuses(live, target, token) == {403}
    mirror.close()


def test_no_repo_is_recalled_before_it_is_known_who_asks(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is hidden would be refused sooner than one that is not there."""
    asked: list[str] = []
    find = two.mirror.catalog.find_by_name

    def count(repo_type: RepoType, name: str, *, any_case: bool) -> object:
        asked.append(name)
        return find(repo_type, name, any_case=any_case)

    monkeypatch.setattr(two.mirror.catalog, "find_by_name", count)

    def questions(target: str) -> int:
        asked.clear()
        assert two.live.ask(target, headers=bearer(two.acme)).status == 404
        return len(asked)

    two.live.ask(THEIRS[1], headers=bearer(two.all))
    hidden = questions(THEIRS[1])
    assert hidden == questions(THEIRS[1].replace("secret", "nothing")) > 0
