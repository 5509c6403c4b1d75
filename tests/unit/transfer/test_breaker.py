"""A host in trouble is asked by one at a time; time is virtual here."""

import asyncio

import pytest

from hubsync.ports.hub import UnavailableError
from hubsync.transfer.breaker import FAILURES_MAX, Breaker
from hubsync.transfer.options import TransferOptions
from tests.unit.transfer.virtual_time import now, run

OPTIONS = TransferOptions(backoff_base_s=0.5, backoff_max_s=4.0, retries_max=6)
REQUEST_S = 0.1


class Host:
    """Answers as *answers* says; remembers when it was asked."""

    def __init__(self, breaker: Breaker, name: str = "cdn.test") -> None:
        self.breaker, self.name = breaker, name
        self.is_up = False
        self.asked: list[float] = []
        self.at_once = self.most_at_once = 0

    async def ask(self) -> bool:
        """One request through the breaker, whether it was answered."""
        async with self.breaker.attempt(self.name) as attempt:
            self.asked.append(now())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(REQUEST_S)
            finally:
                self.at_once -= 1
            attempt.answered, attempt.why = self.is_up, "it answered 503"
        return self.is_up

    async def until_answered(self) -> None:
        while not await self.ask():
            pass


def host(jitter: float = 1.0, options: TransferOptions = OPTIONS) -> Host:
    return Host(Breaker(options, lambda: jitter))


async def bring_down(host: Host) -> None:
    for _ in range(FAILURES_MAX):
        await host.ask()


def test_a_dead_host_sees_few_requests_however_many_files_wait() -> None:
    async def story() -> None:
        dead, slots = host(), asyncio.Semaphore(32)

        async def file() -> None:
            async with slots:
                await dead.until_answered()

        ends = await asyncio.gather(
            *(file() for _ in range(1000)), return_exceptions=True
        )
        assert all(isinstance(end, UnavailableError) for end in ends)
        assert "cdn.test is down: it answered 503" in str(ends[0])
        assert ends[0].hint  # type: ignore[union-attr]
        # All that were under way, those that came back before it was known to be
        # in trouble, and the probes.
        assert len(dead.asked) == 32 + FAILURES_MAX - 1 + OPTIONS.retries_max

    run(story())


def test_the_pauses_grow_and_have_an_end() -> None:
    async def story() -> None:
        dead = host()
        with pytest.raises(UnavailableError):
            await dead.until_answered()
        pauses = [
            later - earlier - REQUEST_S
            for earlier, later in zip(dead.asked, dead.asked[1:], strict=False)
        ]
        assert pauses[: FAILURES_MAX - 1] == pytest.approx([0.0] * (FAILURES_MAX - 1))
        probes = pauses[FAILURES_MAX - 1 :]
        assert probes == pytest.approx([0.5, 1.0, 2.0, 4.0, 4.0, 4.0])

    run(story())


def test_a_pause_is_never_longer_than_its_jitter_allows() -> None:
    async def story() -> None:
        dead = host(jitter=0.5)
        await bring_down(dead)
        down_at = now()
        await dead.ask()
        assert dead.asked[-1] - down_at == pytest.approx(0.25)

    run(story())


def test_one_probe_at_a_time_and_its_success_lets_all_in() -> None:
    async def story() -> None:
        sick = host()
        await bring_down(sick)
        sick.most_at_once = 0
        waiting = [asyncio.create_task(sick.until_answered()) for _ in range(50)]
        await asyncio.sleep(1.0)
        assert len(sick.asked) == FAILURES_MAX + 1
        assert sick.most_at_once == 1

        sick.is_up = True
        await asyncio.gather(*waiting)
        # One found out, 49 others came, and the first probe's is asked again.
        assert len(sick.asked) == FAILURES_MAX + 1 + 50
        assert sick.most_at_once == 49

    run(story())


def test_a_success_in_between_starts_the_count_anew() -> None:
    async def story() -> None:
        flaky, started = host(), now()
        for _ in range(10):
            for _ in range(FAILURES_MAX - 1):
                await flaky.ask()
            flaky.is_up = True
            await flaky.ask()
            flaky.is_up = False
        spent = 10 * FAILURES_MAX * REQUEST_S
        assert now() - started == pytest.approx(spent), "no pause"

    run(story())


def test_after_it_came_back_it_gets_all_its_chances_again() -> None:
    async def story() -> None:
        sick = host()
        await bring_down(sick)
        for _ in range(OPTIONS.retries_max - 1):
            await sick.ask()
        sick.is_up = True
        await sick.ask()
        sick.is_up = False
        before = len(sick.asked)
        with pytest.raises(UnavailableError):
            await sick.until_answered()
        assert len(sick.asked) - before == FAILURES_MAX + OPTIONS.retries_max

    run(story())


def test_requests_that_were_under_way_do_not_make_the_pause_longer() -> None:
    async def story() -> None:
        sick = host()
        await asyncio.gather(*(sick.ask() for _ in range(32)))
        down_at = now()
        await sick.ask()
        assert sick.asked[-1] - down_at == pytest.approx(OPTIONS.backoff_base_s)

    run(story())


def test_other_hosts_are_asked_meanwhile() -> None:
    async def story() -> None:
        breaker = Breaker(OPTIONS, lambda: 1.0)
        dead, alive = Host(breaker, "dead.test"), Host(breaker, "alive.test")
        alive.is_up = True
        await bring_down(dead)
        asked_at = now()
        assert await alive.ask()
        assert alive.asked == [asked_at]

    run(story())


def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next() -> None:
    async def story() -> None:
        sick = host()
        await bring_down(sick)
        probe = asyncio.create_task(sick.ask())
        other = asyncio.create_task(sick.ask())
        await asyncio.sleep(OPTIONS.backoff_base_s + REQUEST_S / 2)
        probe.cancel()
        sick.is_up = True
        async with asyncio.timeout(1.0):
            assert await other

    run(story())


def test_a_probe_of_which_nobody_can_tell_leaves_the_host_as_it_was() -> None:
    """Its request was refused by ourselves, say: that is no news of the host."""

    async def story() -> None:
        sick = host()
        await bring_down(sick)
        with pytest.raises(LookupError):
            async with sick.breaker.attempt(sick.name):
                raise LookupError
        assert not await sick.ask()
        sick.is_up = True
        assert await sick.ask()

    run(story())


def test_trouble_is_said_once() -> None:
    async def story() -> None:
        notes: list[str] = []
        dead = Host(Breaker(OPTIONS, note=notes.append))
        with pytest.raises(UnavailableError):
            await dead.until_answered()
        [note] = notes
        assert "cdn.test is in trouble: it answered 503" in note

    run(story())


def test_silence_of_our_own_doing_is_known() -> None:
    async def story() -> None:
        sick = host()
        assert sick.breaker.quiet_until == 0.0
        await bring_down(sick)
        assert sick.breaker.quiet_until == pytest.approx(now() + 0.5)
        sick.is_up = True
        await sick.ask()
        assert sick.breaker.quiet_until == 0.0

    run(story())
