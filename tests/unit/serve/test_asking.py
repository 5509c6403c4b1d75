"""Questions to an upstream: once for all who wait, remembered for a while."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from hubsync.model.repo import RepoId, RepoType
from hubsync.ports.gate import Account, GateUnavailableError, Verdict
from hubsync.serve import questions
from hubsync.serve.asking import AskedGate
from hubsync.serve.questions import (
    DOWN_KNOWN_S,
    QUESTIONS_MAX,
    UNAVAILABLE_S,
    Kept,
)
from hubsync.serve.remembered import Remembered

TOKEN = "hf_" + "a" * 34
REPO = RepoId("huggingface", RepoType.MODEL, "acme/x")


def in_loop(
    test: Callable[..., Coroutine[None, None, None]],
) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**given: object) -> None:
        asyncio.run(test(**given))

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
    gate = AskedGate(oracle, 60.0, 0.0)
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
    gate = AskedGate(oracle, 60.0, 0.0)
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
    gate = AskedGate(oracle, 60.0, 0.0)
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
    gate = AskedGate(oracle, 60.0, 0.0, Remembered(10, lambda: clock[0]))
    for token in ("a", "b", "c"):
        with pytest.raises(GateUnavailableError):
            await gate.may_read(REPO, token)
    assert oracle.asked.total() == 1
    clock[0] += UNAVAILABLE_S
    oracle.answer = lambda _: Verdict.YES
    assert await gate.may_read(REPO, "a") is Verdict.YES


def down(_: str | None) -> Verdict:
    raise GateUnavailableError("nothing", silent=True)


def busy(_: str | None) -> Verdict:
    raise GateUnavailableError("429", down=True)


def absurd(_: str | None) -> Verdict:
    raise GateUnavailableError("it is a teapot")


@dataclass
class Stand:
    """A gate with a clock of its own, whose upstream says yes until told else."""

    cache_s: float = 60.0
    stale_s: float = 3600.0
    now: float = 100.0
    oracle: Oracle = field(default_factory=Oracle)

    def __post_init__(self) -> None:
        self.oracle.released.set()
        verdicts = Remembered[Kept[Verdict]](100, lambda: self.now)
        self.gate = AskedGate(self.oracle, self.cache_s, self.stale_s, verdicts)

    async def ask(self, token: str = "t", repo: RepoId = REPO) -> Verdict:
        return await self.gate.may_read(repo, token)

    async def settle(self) -> None:
        """Until what is asked in the background has been answered."""
        running = [*self.gate._verdicts._running.values()]
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)


@in_loop
@pytest.mark.parametrize("failing", [down, busy])
async def test_a_yes_counts_on_while_the_upstream_does_not_answer(
    failing: Callable[[str | None], Verdict],
) -> None:
    stand = Stand()
    assert await stand.ask() is Verdict.YES
    stand.oracle.answer = failing
    stand.now += stand.cache_s
    for _ in range(3):
        assert await stand.ask() is Verdict.YES
        stand.now += UNAVAILABLE_S
    stand.now = 100.0 + stand.cache_s + stand.stale_s - 1
    assert await stand.ask() is Verdict.YES
    stand.now += 1
    with pytest.raises(GateUnavailableError):
        await stand.ask()


@in_loop
async def test_a_yes_counts_no_longer_where_that_is_switched_off() -> None:
    stand = Stand(stale_s=0.0)
    assert await stand.ask() is Verdict.YES
    stand.oracle.answer = down
    stand.now += stand.cache_s
    with pytest.raises(GateUnavailableError):
        await stand.ask()


@in_loop
async def test_an_answer_that_makes_no_sense_does_not_prolong_a_yes() -> None:
    stand = Stand()
    await stand.ask()
    stand.oracle.answer = absurd
    stand.now += stand.cache_s
    with pytest.raises(GateUnavailableError):
        await stand.ask()


@in_loop
@pytest.mark.parametrize("verdict", [one for one in Verdict if one is not Verdict.YES])
async def test_s26_no_yes_comes_back_after_a_no(verdict: Verdict) -> None:
    stand = Stand()
    await stand.ask()
    stand.now += stand.cache_s
    stand.oracle.answer = lambda _: verdict
    assert await stand.ask() is verdict
    stand.oracle.answer = down
    stand.now += stand.cache_s
    with pytest.raises(GateUnavailableError):
        await stand.ask()


@in_loop
async def test_s26_a_token_that_is_refused_opens_nothing_that_it_opened() -> None:
    other = RepoId("huggingface", RepoType.MODEL, "acme/other")
    stand = Stand()
    for repo in (REPO, other):
        await stand.ask(repo=repo)
    assert await stand.ask("else") is Verdict.YES
    stand.now += stand.cache_s
    stand.oracle.answer = lambda _: Verdict.WRONG_TOKEN
    assert await stand.ask(repo=other) is Verdict.WRONG_TOKEN
    stand.oracle.answer = down
    with pytest.raises(GateUnavailableError):
        await stand.ask()
    assert await stand.ask("else") is Verdict.YES


@in_loop
async def test_a_yes_that_was_on_its_way_when_its_token_was_refused_is_not_kept() -> (
    None
):
    stand = Stand()
    stand.oracle.released.clear()
    early = asyncio.create_task(stand.ask())
    await asyncio.sleep(0)
    stand.gate._refused("t")
    stand.oracle.released.set()
    assert await early is Verdict.YES
    stand.oracle.answer = down
    with pytest.raises(GateUnavailableError):
        await stand.ask()


@in_loop
async def test_an_upstream_that_is_known_to_be_down_is_not_waited_for() -> None:
    stand = Stand()
    for token in ("t", "u"):
        await stand.ask(token)
    stand.now += stand.cache_s
    stand.oracle.answer = down
    await stand.ask()
    asked = stand.oracle.asked.total()
    assert await stand.ask("u") is Verdict.YES
    assert stand.oracle.asked.total() == asked  # it is left alone
    stand.now += UNAVAILABLE_S
    stand.oracle.released.clear()
    for token in ("t", "u"):  # asked again, and meanwhile nobody waits
        assert await asyncio.wait_for(stand.ask(token), 0.5) is Verdict.YES
    await asyncio.sleep(0)
    assert stand.oracle.asked.total() == asked + 1
    stand.oracle.answer = lambda _: Verdict.NO
    stand.oracle.released.set()
    await stand.settle()
    # It is back, and is believed at once.
    assert await stand.ask() is Verdict.NO
    assert await stand.ask("u") is Verdict.NO


@in_loop
async def test_what_was_known_long_ago_is_not_taken_for_now() -> None:
    """Down an hour ago is no reason not to ask."""
    stand = Stand()
    await stand.ask()
    stand.now += stand.cache_s
    stand.oracle.answer = down
    await stand.ask()
    stand.now += DOWN_KNOWN_S
    stand.oracle.answer = lambda _: Verdict.NO
    assert await stand.ask() is Verdict.NO


@in_loop
async def test_one_repo_that_fails_upstream_says_nothing_of_the_others() -> None:
    other = RepoId("huggingface", RepoType.MODEL, "acme/other")
    stand = Stand()
    for repo in (REPO, other):
        await stand.ask(repo=repo)
    stand.now += stand.cache_s
    stand.oracle.answer = busy
    assert await stand.ask(repo=other) is Verdict.YES
    stand.oracle.answer = lambda _: Verdict.NO
    assert await stand.ask() is Verdict.NO


@in_loop
async def test_a_slow_upstream_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(questions, "PATIENCE_S", 0.05)
    stand = Stand()
    await stand.ask()
    stand.now += stand.cache_s
    stand.oracle.released.clear()
    assert await asyncio.wait_for(stand.ask(), 5.0) is Verdict.YES
    stand.oracle.answer = lambda _: Verdict.NO
    stand.oracle.released.set()
    await stand.settle()
    assert await stand.ask() is Verdict.NO


@in_loop
async def test_no_token_is_kept() -> None:
    """What is in our memory, or in a core file, opens nothing upstream."""
    oracle = Oracle()
    oracle.released.set()
    gate = AskedGate(oracle, 60.0, 0.0)
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
