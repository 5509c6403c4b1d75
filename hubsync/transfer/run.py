"""What the downloads of one run share, and what they have cost so far."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from hubsync.ports.blobs import BlobStore
from hubsync.ports.progress import Progress
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.http import Courier
from hubsync.transfer.limiter import RateLimiter
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.slots import Slots

T = TypeVar("T")


@dataclass(slots=True)
class Run:
    """One call of `Engine.fetch_all`.

    *disk_pool* runs what waits for the disk, *hash_pool* what wants a core of
    its own.
    """

    courier: Courier
    blobs: BlobStore
    options: TransferOptions
    limiter: RateLimiter
    progress: Progress
    disk_pool: Executor
    hash_pool: Executor
    slots: Slots
    bytes_fetched: int = 0
    retries: int = 0
    byte_at: float = 0.0  # loop time of the last byte of any file

    async def disk(
        self, work: Callable[[], T], undo: Callable[[T], None] | None = None
    ) -> T:
        """Run what blocks; finish it even when we are cancelled.

        A thread cannot be stopped, and the file it writes to must not be closed
        under it.  *undo* gets the result that nobody is there to take.
        """
        return await _finished(self.disk_pool, work, undo)

    async def hash(self, work: Callable[[], T]) -> T:
        """As `disk`, where hashing keeps no write waiting."""
        return await _finished(self.hash_pool, work, None)


async def _finished(
    pool: Executor, work: Callable[[], T], undo: Callable[[T], None] | None
) -> T:
    job = asyncio.get_running_loop().run_in_executor(pool, work)
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait([job])
        # Asked for in any case: asyncio prints an error that nobody looked at.
        if job.exception() is None and undo is not None:
            undo(job.result())
        raise


def weightiest(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error of a group that says most: a final one before a passing one."""
    flat = [
        weightiest(error) if isinstance(error, BaseExceptionGroup) else error
        for error in errors.exceptions
    ]
    return min(flat, key=lambda error: isinstance(error, RetryLaterError))
