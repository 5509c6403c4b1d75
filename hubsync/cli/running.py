"""Running what is asynchronous, until it ends or is told to."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, with SIGTERM as Ctrl-C: *work* is cancelled where it waits.

    A handler of Python's own would raise in the middle of anything, also where
    nobody would ever hear of it: while an object is taken apart, say.

    Raises:
        KeyboardInterrupt: it was told to end.
    """
    before = signal.getsignal(signal.SIGTERM)
    is_told = False

    async def listening() -> T:
        task = asyncio.current_task()
        assert task

        def end() -> None:
            nonlocal is_told
            is_told = True
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await work

    try:
        return asyncio.run(listening())
    except asyncio.CancelledError:
        if is_told:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
