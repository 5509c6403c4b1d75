"""What bars, lines and events have in common."""

import asyncio

from hubsync.cli.watch import Watch


class Shown(Watch):
    """Remembers when it was shown."""

    every_s = 0.001

    def __init__(self) -> None:
        super().__init__("acme/model")
        self.times: list[float] = []
        self.twice = asyncio.Event()

    def show(self, now_s: float) -> None:
        self.times.append(now_s)
        if len(self.times) > 1:
            self.twice.set()

    def note(self, message: str) -> None:
        raise AssertionError(message)


def test_it_looks_also_when_nothing_comes_and_stops_when_closed() -> None:
    async def stalled() -> Shown:
        watch = Shown()
        watch.plan(1, 100)
        await asyncio.wait_for(watch.twice.wait(), 30)
        watch.close()
        assert len(asyncio.all_tasks()) == 1
        return watch

    assert len(asyncio.run(stalled()).times) == 2


def test_a_plan_with_nothing_to_fetch_is_not_looked_at() -> None:
    async def nothing() -> None:
        watch = Shown()
        watch.plan(0, 0, reused_files=3, reused_bytes=7)
        assert watch._timer is None
        assert watch.tally.reused_bytes == 7

    asyncio.run(nothing())


def test_a_hundred_thousand_files_are_shown_a_few_times() -> None:
    watch = Shown()
    watch.every_s = 3600.0
    watch._due = watch.clock() + watch.every_s
    watch.plan(100_000, 100_000)
    for number in range(100_000):
        watch.file_started(f"{number}", 1, 0)
        watch.file_advanced(f"{number}", 1)
        watch.file_verified(f"{number}", 1)
        watch.file_done(f"{number}")
    assert watch.times == []
    assert watch.tally.files_done == 100_000
    assert not watch.tally.in_flight
