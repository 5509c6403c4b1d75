"""One blob, from a hub into an ingest, whatever happens on the way."""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from hubsync.model.digest import Descriptor
from hubsync.ports.blobs import BlobCorruptError, BlobStore, HeldBlob, Ingest
from hubsync.ports.hub import Source, UnavailableError
from hubsync.ports.progress import Progress
from hubsync.transfer import http
from hubsync.transfer.limiter import RateLimiter
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.replies import RetryLaterError, StartOverError, check_reply

T = TypeVar("T")
MISMATCHES_MAX = 1  # one refetch: a proxy may have cut or mixed up the body


@dataclass(frozen=True, slots=True)
class Fetch:
    """A blob to fetch, under the first path that needs it."""

    repo: str  # for messages
    path: str
    want: Descriptor
    source: Source


@dataclass(slots=True)
class Counters:
    """What a run has cost so far."""

    bytes_fetched: int = 0
    requests: int = 0
    retries: int = 0


@dataclass(slots=True)
class Download:
    """Carries out one `Fetch`.  *pool* runs what blocks: disk and hashing."""

    fetch: Fetch
    session: aiohttp.ClientSession
    blobs: BlobStore
    options: TransferOptions
    limiter: RateLimiter
    progress: Progress
    counters: Counters
    pool: Executor
    failures: int = field(default=0, init=False)
    mismatches: int = field(default=0, init=False)

    async def run(self) -> HeldBlob:
        """Fetch until the blob is durable.

        Raises:
            BlobCorruptError: wrong bytes, twice.
            HubError: the hub says no, or says nothing for too long.
            NoRoomError: the store is full.  What was fetched is kept.
        """
        want = self.fetch.want
        first = True
        while True:
            ingest = await self._begin()
            if isinstance(ingest, HeldBlob):
                self._started(first, want.size_bytes)
                return ingest
            self._started(first, ingest.offset)
            first = False
            try:
                await self._attempt(ingest)
                return await self._block(ingest.complete)
            except BlobCorruptError as error:
                self.progress.file_advanced(
                    self.fetch.path, -min(ingest.offset, want.size_bytes)
                )
                self._again_or_raise(error)
            finally:
                ingest.abort()

    async def _begin(self) -> Ingest | HeldBlob:
        """Wait for the ingest; if we are cancelled meanwhile, let go of it."""
        job = asyncio.get_running_loop().run_in_executor(
            self.pool, self.blobs.begin, self.fetch.want
        )
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            ingest = await job
            if not isinstance(ingest, HeldBlob):
                ingest.abort()
            raise

    def _started(self, first: bool, offset: int) -> None:  # noqa: FBT001 - private
        if first:
            path, size = self.fetch.path, self.fetch.want.size_bytes
            self.progress.file_started(path, size, offset)

    def _again_or_raise(self, error: BlobCorruptError) -> None:
        self.mismatches += 1
        if self.mismatches > MISMATCHES_MAX:
            raise CorruptUpstreamError(self.fetch, error) from error
        self.counters.retries += 1
        self.progress.note(f"{self.fetch.path}: {error}; fetching it once more")

    async def _attempt(self, ingest: Ingest) -> None:
        """Ask until all bytes are in *ingest*."""
        while ingest.offset < self.fetch.want.size_bytes:
            before = ingest.offset
            try:
                await self._request(ingest)
            except StartOverError:
                self.progress.file_advanced(self.fetch.path, -ingest.offset)
                await self._block(ingest.restart)
            except RetryLaterError as later:
                await self._pause(later, progressed=ingest.offset > before)

    async def _request(self, ingest: Ingest) -> None:
        more = {"Range": f"bytes={ingest.offset}-"} if ingest.offset else {}
        try:
            reply = await http.get(self.session, self.fetch.source, more, self.options)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.counters.requests += 1
            raise RetryLaterError(f"no answer: {_reason(error)}") from error
        self.counters.requests += reply.hops
        async with reply.response as response:
            check_reply(reply, self.fetch.path, ingest.offset, self.fetch.want)
            try:
                await self._body(response, ingest)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise RetryLaterError(
                    f"the connection broke: {_reason(error)}"
                ) from error
        if ingest.offset < self.fetch.want.size_bytes:
            raise RetryLaterError("the body ended early")

    async def _body(self, response: aiohttp.ClientResponse, ingest: Ingest) -> None:
        """Copy the body; one block is written while the next is received."""
        clock = asyncio.get_running_loop().time
        window_ends, window_bytes = clock() + self.options.rate_window_s, 0
        gathered = bytearray()
        writing: asyncio.Future[None] | None = None
        try:
            async for block in response.content.iter_any():
                await self.limiter.take(len(block))
                gathered += block
                window_bytes += len(block)
                if clock() > window_ends:
                    self._check_rate(window_bytes)
                    window_ends = clock() + self.options.rate_window_s
                    window_bytes = 0
                if len(gathered) >= self.options.block_bytes:
                    if writing is not None:
                        await writing
                    writing = self._write(ingest, gathered)
                    gathered = bytearray()
        finally:
            # Also when the connection broke: what has arrived is kept.
            if writing is not None:
                await writing
            if gathered:
                await self._write(ingest, gathered)

    def _write(self, ingest: Ingest, block: bytearray) -> "asyncio.Future[None]":
        def write() -> None:
            ingest.write(memoryview(block))

        self.counters.bytes_fetched += len(block)
        self.progress.file_advanced(self.fetch.path, len(block))
        return asyncio.ensure_future(self._block(write))

    def _check_rate(self, window_bytes: int) -> None:
        least = self.options.rate_min_bytes_per_s * self.options.rate_window_s
        if window_bytes < least:
            raise RetryLaterError("the connection is too slow to be of use")

    async def _pause(self, later: RetryLaterError, *, progressed: bool) -> None:
        self.counters.retries += 1
        self.failures = 1 if progressed else self.failures + 1
        if self.failures > self.options.retries_max:
            raise UnavailableError(
                f"cannot fetch {self.fetch.path} of {self.fetch.repo}: {later}",
                hint="Try again later: what has arrived is kept and resumed.",
            ) from later
        wait = later.wait_s
        if wait is None:
            top = self.options.backoff_base_s * 2.0 ** (self.failures - 1)
            wait = min(top, self.options.backoff_max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        if wait > self.options.rate_limit_wait_max_s:
            raise UnavailableError(
                f"cannot fetch {self.fetch.path} of {self.fetch.repo}: {later}; the "
                f"hub wants {wait:.0f} s of silence",
                hint="Try again later: what has arrived is kept and resumed.",
            )
        self.progress.note(f"{self.fetch.path}: {later}; again in {wait:.1f} s")
        await asyncio.sleep(wait)

    async def _block(self, work: Callable[[], T]) -> T:
        """Run what blocks in the pool; finish it even when we are cancelled.

        A thread cannot be stopped, and the file it writes to must not be closed
        under it.
        """
        job = asyncio.get_running_loop().run_in_executor(self.pool, work)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])
            raise


class CorruptUpstreamError(BlobCorruptError):
    """Wrong bytes again after a refetch: upstream itself is wrong."""

    retryable = False

    def __init__(self, fetch: Fetch, error: BlobCorruptError) -> None:
        super().__init__(error.want, error.got, error.got_size_bytes)
        self.args = (
            f"{fetch.repo}: upstream's bytes of {fetch.path} are wrong: {error}",
        )
        self.hint = (
            "Nothing of this revision became visible; the bytes are in quarantine. "
            "Try another time or another network, and tell the hub."
        )


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
