"""Questions to an upstream: once for all who wait, remembered for a while."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.gate import Account, GateUnavailableError, Verdict
from hubsync.serve.asking import AskedGate
from hubsync.serve.questions import QUESTIONS_MAX, UNAVAILABLE_S
from hubsync.serve.remembered import Remembered

TOKEN = "hf_" + "a" * 34
REPO = RepoId("huggingface", RepoType.MODEL, "acme/x")


def in_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@dataclass
class Oracle:
    """A `Gate` that answers when it is told to."""

    answer: Callable[[str | None], Verdict] = lambda _: Verdict.YES
    released: asyncio.Event = field(default_factory=asyncio.Event)
    asked: Counter[tuple[RepoId, str | None]] = field(default_factory=Counter)
    now: int = 0
    most: int = 0

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        self.asked[repo, token] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.released.wait()
            return self.answer(token)
        finally:
            self.now -= 1

    async def whose(self, token: str, upstream: str) -> Account | None:
        await self.released.wait()
        return None


@in_loop
async def test_many_who_wait_ask_once() -> None:
    oracle = Oracle()
    gate = AskedGate(oracle, 60.0)
    waiting = [asyncio.create_task(gate.may_read(REPO, "t")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # the one that asked leaves; the others still hear
    await asyncio.sleep(0)
    oracle.released.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert found[1:] == [Verdict.YES] * 49
    assert oracle.asked == Counter({(REPO, "t"): 1})


@in_loop
async def test_tokens_and_repos_are_told_apart() -> None:
    oracle = Oracle(lambda token: Verdict.YES if token == "good" else Verdict.NO)
    oracle.released.set()
    gate = AskedGate(oracle, 60.0)
    other = RepoId("huggingface", RepoType.DATASET, "acme/x")
    for _ in range(2):
        assert await gate.may_read(REPO, "good") is Verdict.YES
        assert await gate.may_read(REPO, "bad") is Verdict.NO
        assert await gate.may_read(REPO, None) is Verdict.NO
        assert await gate.may_read(other, "good") is Verdict.YES
    assert set(oracle.asked.values()) == {1}
    assert len(oracle.asked) == 4


@in_loop
async def test_only_so_many_questions_are_on_the_way_at_once() -> None:
    oracle = Oracle()
    gate = AskedGate(oracle, 60.0)
    waiting = [asyncio.create_task(gate.may_read(REPO, str(n))) for n in range(100)]
    for _ in range(5):
        await asyncio.sleep(0)
    oracle.released.set()
    await asyncio.gather(*waiting)
    assert oracle.most == QUESTIONS_MAX


@in_loop
async def test_a_silent_upstream_is_left_alone_for_a_moment() -> None:
    clock = [100.0]

    def silent(_: str | None) -> Verdict:
        raise GateUnavailableError("nothing", silent=True)

    oracle = Oracle(silent)
    oracle.released.set()
    gate = AskedGate(oracle, 60.0, Remembered(10, lambda: clock[0]))
    for token in ("a", "b", "c"):
        with pytest.raises(GateUnavailableError):
            await gate.may_read(REPO, token)
    assert oracle.asked.total() == 1
    clock[0] += UNAVAILABLE_S
    oracle.answer = lambda _: Verdict.YES
    assert await gate.may_read(REPO, "a") is Verdict.YES


@in_loop
async def test_no_token_is_kept() -> None:
    """What is in our memory, or in a core file, opens nothing upstream."""
    oracle = Oracle()
    oracle.released.set()
    gate = AskedGate(oracle, 60.0)
    await gate.may_read(REPO, TOKEN)
    await asyncio.sleep(0)
    assert gate._verdicts._running == {}
    assert len(gate._verdicts._kept._items) == 1
    assert TOKEN not in str(gate._verdicts._kept._items)


def test_what_is_remembered_is_bounded_and_ends() -> None:
    clock = [0.0]
    kept: Remembered[int] = Remembered(3, lambda: clock[0])
    for number in range(5):
        kept.put(number, number, until=10.0)
    assert [kept.get(number) for number in range(5)] == [None, None, 2, 3, 4]
    clock[0] = 9.9
    assert kept.get(2) == 2
    clock[0] = 10.0
    assert kept.get(2) is None
    kept.put(3, 33, until=20.0)
    assert kept.get(3) == 33
