"""Told to end, it ends where it waits, and only there."""

import asyncio
import os
import signal

import pytest

from hubsync.cli.running import run_to_end


class DeafError(Exception):
    """Whoever raises it has not been interrupted."""


def test_the_result_is_that_of_the_work() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    before = signal.getsignal(signal.SIGTERM)
    assert run_to_end(work()) == 7
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_waits_is_cancelled(number: signal.Signals) -> None:
    seen = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        run_to_end(work())
    assert seen == ["cancelled"]


def test_what_does_not_wait_is_not_interrupted() -> None:
    """An exception there could be anybody's to swallow."""

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100_000):
            pass
        raise DeafError

    with pytest.raises(DeafError):
        run_to_end(work())


def test_a_cancellation_of_the_works_own_stays_one() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_to_end(work())
