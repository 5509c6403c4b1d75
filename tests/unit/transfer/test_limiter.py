"""Bytes a second, and windows that a hub has closed; time is virtual here."""

import asyncio
from collections.abc import Mapping

import pytest

from hubsync.model.units import MIB
from hubsync.ports.hub import UnavailableError
from hubsync.transfer.limiter import JITTER_S, Gates, RateLimiter
from hubsync.transfer.options import TransferOptions
from tests.unit.transfer.virtual_time import now, run

OPTIONS = TransferOptions(backoff_base_s=0.5, backoff_max_s=4.0)
HUB, CDN = "hub.test", "cdn.test"


class TestRate:
    @pytest.mark.parametrize("connections", [1, 2, 7, 32])
    @pytest.mark.parametrize("rate", [20 * MIB, 50_000_000])
    def test_it_is_kept_and_shared_fairly(self, connections: int, rate: int) -> None:
        async def story() -> None:
            limiter, taken = RateLimiter(rate), [0] * connections

            async def connection(number: int) -> None:
                while True:
                    await limiter.take(MIB)
                    taken[number] += MIB

            tasks = [asyncio.create_task(connection(n)) for n in range(connections)]
            await asyncio.sleep(1.0)  # what was saved up before the start is used up
            before = list(taken)
            await asyncio.sleep(60.0)
            for task in tasks:
                task.cancel()
            got = [end - start for start, end in zip(before, taken, strict=True)]
            assert sum(got) == pytest.approx(60 * rate, rel=0.02)
            assert max(got) - min(got) <= MIB

        run(story())

    def test_small_and_large_blocks_together_keep_it_too(self) -> None:
        async def story() -> None:
            limiter, taken = RateLimiter(MIB), 0

            async def connection(block: int) -> None:
                nonlocal taken
                while True:
                    await limiter.take(block)
                    taken += block

            tasks = [asyncio.create_task(connection(1 << n)) for n in range(8, 20)]
            await asyncio.sleep(121.0)
            for task in tasks:
                task.cancel()
            assert taken == pytest.approx(121 * MIB, rel=0.03)

        run(story())

    def test_no_more_than_one_second_is_saved_up(self) -> None:
        async def story() -> None:
            limiter = RateLimiter(100)
            await limiter.take(100)
            await asyncio.sleep(3600.0)
            started = now()
            await limiter.take(100)
            assert now() == started
            await limiter.take(100)
            assert now() - started == pytest.approx(1.0)

        run(story())

    def test_without_a_rate_nobody_waits(self) -> None:
        async def story() -> None:
            limiter, started = RateLimiter(None), now()
            await limiter.take(1 << 40)
            assert now() == started

        run(story())


async def waited(gates: Gates, host: str = HUB, kind: str = "files") -> float:
    started = now()
    await gates.passed(host, kind)
    return now() - started


def used_up(bucket: str, seconds: int) -> dict[str, str]:
    return {"ratelimit": f'"{bucket}";r=0;t={seconds}'}


def gates() -> Gates:
    return Gates(OPTIONS, lambda: 0.0)


class TestGates:
    @pytest.mark.parametrize(
        ("headers", "wait"),
        [
            (used_up("resolvers", 55), 56.0),
            (used_up("resolvers", 0), 1.0),
            ({"retry-after": "7"}, 7.0),
            (
                {
                    "date": "Fri, 27 Nov 2026 01:00:00 GMT",
                    "retry-after": "Fri, 27 Nov 2026 01:02:03 GMT",
                },
                123.0,
            ),
            ({"ratelimit": '"resolvers";r=5;t=99', "retry-after": "3"}, 3.0),
            ({}, 0.5),
            ({"retry-after": "soon"}, 0.5),
            ({"retry-after": "Fri, 27 Nov 2026 01:02:03 GMT"}, 0.5),
        ],
    )
    def test_a_429_is_obeyed_as_it_says(
        self, headers: Mapping[str, str], wait: float
    ) -> None:
        async def story() -> None:
            closed = gates()
            closed.answered(HUB, "files", 429, headers)
            assert closed.quiet_until == pytest.approx(now() + wait)
            assert await waited(closed) == pytest.approx(wait)
            assert await waited(closed) == 0.0

        run(story())

    @pytest.mark.parametrize("status", [200, 206, 302, 307, 404])
    def test_a_window_that_is_used_up_is_closed_before_a_429(self, status: int) -> None:
        async def story() -> None:
            closed = gates()
            closed.answered(HUB, "files", status, used_up("resolvers", 55))
            assert await waited(closed) == pytest.approx(56.0)

        run(story())

    def test_what_is_left_of_a_window_may_be_used(self) -> None:
        async def story() -> None:
            opened = gates()
            opened.answered(HUB, "files", 302, {"ratelimit": '"resolvers";r=1;t=55'})
            assert await waited(opened) == 0.0

        run(story())

    def test_no_request_of_any_worker_falls_into_a_closed_window(self) -> None:
        async def story() -> None:
            closed, sent = Gates(OPTIONS), list[float]()
            opens_at = now() + 56.0

            async def worker(number: int) -> None:
                await asyncio.sleep(0.9 * number)
                await closed.passed(HUB, "files")
                sent.append(now())

            closed.answered(HUB, "files", 429, used_up("resolvers", 55))
            await asyncio.gather(*(worker(number) for number in range(60)))
            assert len(sent) == 60
            assert min(sent) >= opens_at
            assert max(sent) <= opens_at + JITTER_S
            assert len(set(sent)) > 50, "not all in one moment"

        run(story())

    def test_only_the_bucket_that_is_used_up_is_closed(self) -> None:
        async def story() -> None:
            some = gates()
            some.answered(HUB, "resolve-cache", 200, {"ratelimit": '"api";r=9;t=55'})
            some.answered(HUB, "files", 429, used_up("resolvers", 55))
            assert await waited(some, HUB, "api") == 0.0
            assert await waited(some, HUB, "resolve-cache") == 0.0
            assert await waited(some, CDN, "files") == 0.0
            assert await waited(some, HUB, "files") == pytest.approx(56.0)

        run(story())

    def test_kinds_that_share_a_bucket_are_closed_together(self) -> None:
        async def story() -> None:
            some, left = gates(), {"ratelimit": '"resolvers";r=9;t=55'}
            some.answered(HUB, "resolve-cache", 200, left)
            some.answered(HUB, "files", 302, used_up("resolvers", 55))
            assert await waited(some, HUB, "resolve-cache") == pytest.approx(56.0)

        run(story())

    def test_without_a_time_the_pauses_grow_and_a_good_answer_ends_that(self) -> None:
        async def story() -> None:
            some, waits = gates(), list[float]()
            for _ in range(5):
                some.answered(HUB, "files", 429, {})
                waits.append(await waited(some))
            assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0, 4.0])
            some.answered(HUB, "files", 200, {})
            some.answered(HUB, "files", 429, {})
            assert await waited(some) == pytest.approx(0.5)

        run(story())

    def test_the_longest_wait_counts(self) -> None:
        async def story() -> None:
            some = gates()
            some.answered(HUB, "files", 429, used_up("resolvers", 55))
            some.answered(HUB, "files", 429, used_up("resolvers", 5))
            assert await waited(some) == pytest.approx(56.0)

        run(story())

    def test_a_window_that_closes_again_while_one_waits_is_waited_for(self) -> None:
        async def story() -> None:
            some = gates()
            some.answered(HUB, "files", 429, {"retry-after": "10"})
            waiting = asyncio.create_task(waited(some))
            await asyncio.sleep(5.0)
            some.answered(HUB, "files", 429, {"retry-after": "60"})
            assert await waiting == pytest.approx(65.0)

        run(story())

    def test_a_window_that_is_too_long_is_an_error_at_once(self) -> None:
        async def story() -> None:
            some, started = gates(), now()
            some.answered(HUB, "files", 429, used_up("resolvers", 86_399))
            with pytest.raises(UnavailableError, match="for another 86400 s") as caught:
                await some.passed(HUB, "files")
            assert now() == started
            assert caught.value.exit_code == 5
            assert caught.value.hint

        run(story())

    def test_a_wait_that_nobody_was_told_of_is_said_once(self) -> None:
        async def story() -> None:
            notes: list[str] = []
            some = Gates(OPTIONS, note=notes.append)
            some.answered(CDN, "files", 429, used_up("resolvers", 55))
            assert notes == [], "whoever was refused says so"
            for _ in range(5):
                some.answered(HUB, "files", 302, used_up("resolvers", 55))
            [note] = notes
            assert "hub.test wants no more requests for 56 s" in note

        run(story())
