"""Connections are bounded, given out fairly, and never lost."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.transfer.slots import Slots


async def turns(times: int = 3) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def in_a_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await test()

    asyncio.run(run())


async def all_free(slots: Slots, total: int) -> None:
    """*total* can be had at once: none was lost, and none came out of thin air."""
    held = [slots.one(n) for n in range(total)]
    for one in held:
        await asyncio.wait_for(one.__aenter__(), 5)
    more = asyncio.create_task(slots.one("more").__aenter__())
    await turns()
    assert not more.done()
    more.cancel()
    await asyncio.wait([more])
    for one in held:
        await one.__aexit__(None, None, None)


def test_the_file_with_the_fewest_is_next() -> None:
    async def test() -> None:
        slots, order = Slots(2), list[str]()

        async def work(owner: str, go: asyncio.Event) -> None:
            async with slots.one(owner):
                order.append(owner)
                await go.wait()

        first, second, rest = asyncio.Event(), asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(work("large", first))
            tasks.create_task(work("large", second))
            await turns()
            tasks.create_task(work("large", rest))
            tasks.create_task(work("small", rest))
            await turns()
            assert order == ["large", "large"]
            first.set()
            await turns()
            assert order[2:] == ["small"]
            second.set()
            await turns()
            assert order[3:] == ["large"]
            rest.set()
        await all_free(slots, 2)

    in_a_loop(test)


def test_one_that_was_given_and_cancelled_in_the_same_moment_is_given_on() -> None:
    async def test() -> None:
        slots = Slots(1)
        holder = slots.one("a")
        await holder.__aenter__()
        waiting = asyncio.create_task(slots.one("b").__aenter__())
        await turns()
        await holder.__aexit__(None, None, None)  # it is given now
        waiting.cancel()  # and has not run since
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await all_free(slots, 1)

    in_a_loop(test)


def test_one_that_was_cancelled_and_passed_over_in_the_same_moment_is_cancelled() -> (
    None
):
    async def test() -> None:
        slots = Slots(1)
        holder = slots.one("a")
        await holder.__aenter__()
        waiting = asyncio.create_task(slots.one("b").__aenter__())
        await turns()
        waiting.cancel()  # and has not run since
        await holder.__aexit__(None, None, None)  # passes it over
        await asyncio.wait([waiting])
        assert waiting.cancelled(), "and not failed"
        await all_free(slots, 1)

    in_a_loop(test)


@pytest.mark.parametrize("total", [1, 3])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_whoever_is_cancelled_whenever_none_is_lost(
    total: int, steps: list[tuple[bool, int]]
) -> None:
    async def test() -> None:
        slots, tasks = Slots(total), list[asyncio.Task[None]]()

        async def work(owner: int) -> None:
            async with slots.one(owner):
                await turns(owner)

        for cancels, which in steps:
            if cancels and tasks:
                tasks[which % len(tasks)].cancel()
            else:
                tasks.append(asyncio.create_task(work(which % 3)))
            if which % 2:
                await turns(1)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(
            one is None or isinstance(one, asyncio.CancelledError) for one in results
        )
        await all_free(slots, total)

    in_a_loop(test)
