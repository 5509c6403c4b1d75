"""What the downloads of one run share, and what they have cost so far."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

from hubsync.ports.blobs import BlobStore
from hubsync.ports.progress import Progress
from hubsync.transfer.buffers import Buffers, Pace
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.http import Courier
from hubsync.transfer.limiter import RateLimiter
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.pipes import Pipes
from hubsync.transfer.slots import Slots

T = TypeVar("T")
FOLDED_S = 0.5  # a pause that ends so much later than another is one with it
_NUMBERS = re.compile(r"\d+")


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
    buffers: Buffers
    pace: Pace = field(default_factory=Pace)
    pipes: Pipes = field(default_factory=Pipes)
    bytes_fetched: int = 0
    bytes_resumed: int = 0
    retries: int = 0
    byte_at: float = 0.0  # loop time of the last byte of any file: come or hashed
    waiting: int = 0  # downloads of which somebody else has the ingest
    told_until: dict[str, float] = field(default_factory=dict)  # see `tell`

    def tell(self, name: str, why: str, wait_s: float) -> None:
        """Say that *name* has to wait, unless another was just said to, and as long.

        A line or a host that breaks does so under all connections at once: one
        sentence for that pause, not one for each of them.
        """
        until = asyncio.get_running_loop().time() + wait_s
        kind = _NUMBERS.sub("#", why)  # each broke at another byte
        if until > self.told_until.get(kind, 0.0):
            self.told_until[kind] = until + FOLDED_S
            self.progress.note(f"{name}: {why}; again in {wait_s:.1f} s")

    async def disk(
        self, work: Callable[[], T], undo: Callable[[T], None] | None = None
    ) -> T:
        """Run what blocks; finish it even when we are cancelled.

        A thread cannot be stopped, and the file it writes to must not be closed
        under it.  *undo* gets the result that nobody is there to take.
        """
        return await _finished(self.disk_pool, work, undo)

    async def hash(self, work: Callable[[], int]) -> int:
        """As `disk`, where hashing keeps no write waiting."""
        hashed_bytes = await _finished(self.hash_pool, work, None)
        if hashed_bytes:
            self.byte_at = asyncio.get_running_loop().time()
        return hashed_bytes


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


async def undisturbed(work: Coroutine[None, None, None]) -> None:
    """Do *work*, a group of tasks; raise the one of its errors that says most.

    In a task of its own: a group whose tasks have errors takes its own task for
    cancelled (up to Python 3.12), and that could not be told from a Ctrl-C.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would print it
        raise
    try:
        task.result()
    except BaseExceptionGroup as errors:
        raise weightiest(errors) from None


def weightiest(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error of a group that says most: a final one before a passing one."""
    flat = [
        weightiest(error) if isinstance(error, BaseExceptionGroup) else error
        for error in errors.exceptions
    ]
    return min(flat, key=lambda error: isinstance(error, RetryLaterError))
