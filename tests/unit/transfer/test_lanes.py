"""Lanes take all parts, are never more than wanted, and say when it is over."""

import asyncio

import pytest

from hubsync.model.spans import Span
from hubsync.transfer import lanes as lanes_module
from hubsync.transfer.lanes import Lanes
from hubsync.transfer.parts import Parts
from hubsync.transfer.tuner import Tuner


class Work:
    """Parts of ten bytes, each fetched when the test lets go of it."""

    def __init__(self, parts: int, lanes_max: int) -> None:
        self.parts = Parts([(0, 10 * parts)], bytes_min=10, bytes_max=10)
        self.tuner = Tuner(lanes_max)
        self.running, self.most, self.arrived, self.over = 0, 0, 0, 0
        self.done: list[Span] = []
        self.go = asyncio.Event()

    async def fetch(self, span: Span) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.go.wait()
            await asyncio.sleep(0)
        finally:
            self.running -= 1
        self.done.append(span)
        self.arrived += span[1] - span[0]

    def ended(self) -> None:
        self.over += 1


def lanes_of(work: Work, tasks: asyncio.TaskGroup) -> Lanes:
    return Lanes(work.fetch, work.parts, work.tuner, tasks, work.ended)


def test_each_part_is_fetched_once_by_so_many_lanes() -> None:
    async def run() -> Work:
        work = Work(parts=50, lanes_max=5)
        async with asyncio.TaskGroup() as tasks:
            lanes = lanes_of(work, tasks)
            lanes.widen()
            assert not await lanes.over_within(0)
            assert not lanes.over
            work.go.set()
            assert await lanes.over_within(20)
        return work

    work = asyncio.run(run())
    assert sorted(work.done) == [(10 * n, 10 * n + 10) for n in range(50)]
    assert (work.most, work.over) == (5, 1)


def test_lanes_that_are_taken_back_end_after_their_part() -> None:
    async def run() -> Work:
        work = Work(parts=50, lanes_max=6)
        async with asyncio.TaskGroup() as tasks:
            lanes_of(work, tasks).widen()
            await asyncio.sleep(0)
            work.tuner.lanes = 2
            work.go.set()
            while len(work.done) < 6:  # noqa: ASYNC110 - one turn of the loop each
                await asyncio.sleep(0)
            work.most = 0
        return work

    work = asyncio.run(run())
    assert len(work.done) == 50, "the others take over what they would have had"
    assert work.most == 2


def test_they_are_widened_while_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "SAMPLE_S", 0.02)

    async def run() -> Work:
        work = Work(parts=100, lanes_max=20)
        clock = asyncio.get_running_loop().time
        seen_at, seen = clock(), 0.0

        def arrived() -> int:
            """Each lane brings as much as any other, however many there are."""
            nonlocal seen_at, seen
            now = clock()
            seen += (now - seen_at) * work.tuner.lanes * 1e9
            seen_at = now
            return int(seen)

        async with asyncio.TaskGroup() as tasks:
            lanes = lanes_of(work, tasks)
            lanes.widen()
            await asyncio.wait_for(lanes.tune(arrived), 20)
            await asyncio.sleep(0)
            assert work.running == 20
            work.go.set()
        return work

    assert len(asyncio.run(run()).done) == 100


def test_an_error_in_one_ends_all() -> None:
    async def run() -> Work:
        work = Work(parts=50, lanes_max=4)
        honest = work.fetch

        async def fetch(span: Span) -> None:
            await honest(span)
            raise RuntimeError("broken")

        work.fetch = fetch  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                lanes = lanes_of(work, tasks)
                lanes.widen()
                await asyncio.sleep(0)
                work.go.set()
        assert lanes.over
        return work

    work = asyncio.run(run())
    assert (work.running, work.over) == (0, 1)
