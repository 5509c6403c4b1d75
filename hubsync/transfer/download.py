"""One blob, from a hub into an ingest, whatever happens on the way."""

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp

from hubsync.ports.blobs import BlobCorruptError, BlobStore, HeldBlob, Ingest
from hubsync.ports.hub import UnavailableError
from hubsync.ports.progress import Progress
from hubsync.transfer import http
from hubsync.transfer.fetch import Fetch
from hubsync.transfer.limiter import Gate, RateLimiter
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.replies import RetryLaterError, StartOverError, check_reply

T = TypeVar("T")
MISMATCHES_MAX = 1  # one refetch: a proxy may have cut or mixed up the body
_RESUMED = "What has arrived is kept, and the next pull goes on from there."


@dataclass(slots=True)
class Run:
    """What the downloads of one run share, and what they have cost so far.

    *pool* runs what blocks: disk and hashing.
    """

    session: aiohttp.ClientSession
    blobs: BlobStore
    options: TransferOptions
    limiter: RateLimiter
    progress: Progress
    pool: Executor
    gate: Gate = field(default_factory=Gate)
    bytes_fetched: int = 0
    requests: int = 0
    retries: int = 0


class Download:
    """Carries out one `Fetch`."""

    def __init__(self, fetch: Fetch, run: Run) -> None:
        self._fetch, self._run = fetch, run
        self._name = f"{fetch.path} of {fetch.repo}"
        self._shown = -1  # bytes that progress was told of; -1: not started
        self._reached = 0  # the most bytes there ever were
        self._failures = 0  # in a row without reaching further
        self._mismatches = 0

    async def run_to_end(self) -> HeldBlob:
        """Fetch until the blob is durable.

        Raises:
            BlobCorruptError: wrong bytes, twice.
            HubError: the hub says no, or says nothing for too long.
            NoRoomError: the store is full.  What was fetched is kept.
        """
        size = self._fetch.want.size_bytes
        while True:
            ingest = await self._begin()
            if isinstance(ingest, HeldBlob):
                self._show(size)
                return ingest
            self._show(ingest.offset)
            try:
                while ingest.offset < size:
                    await self._attempt(ingest)
                return await self._block(ingest.complete)
            except BlobCorruptError as error:
                self._show(0)
                self._again_or_raise(error)
            finally:
                ingest.abort()

    async def _begin(self) -> Ingest | HeldBlob:
        """Wait for the ingest.  If cancelled meanwhile, let go of it when it comes.

        Another process may have it for hours.  The thread that waits is nobody's
        but its own: neither the pool nor the end of the program waits for it.
        """
        job: Future[Ingest | HeldBlob] = Future()
        begin, want = self._run.blobs.begin, self._fetch.want

        def run() -> None:
            job.set_running_or_notify_cancel()
            try:
                ingest = begin(want)
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
                job.set_exception(error)
            else:
                job.set_result(ingest)

        threading.Thread(target=run, name="begin", daemon=True).start()
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(_let_go)
            raise

    def _again_or_raise(self, error: BlobCorruptError) -> None:
        self._mismatches += 1
        if self._mismatches > MISMATCHES_MAX:
            raise CorruptUpstreamError(self._fetch, error) from error
        self._run.retries += 1
        self._run.progress.note(f"{self._name}: {error}; fetching it once more")

    async def _attempt(self, ingest: Ingest) -> None:
        """Ask once; more bytes are in *ingest*, or a pause is over."""
        try:
            await self._request(ingest)
        except StartOverError:
            await self._block(ingest.restart)
            self._show(0)
        except RetryLaterError as later:
            await self._pause(later, ingest.offset)

    async def _request(self, ingest: Ingest) -> None:
        run, offset, want = self._run, ingest.offset, self._fetch.want
        await run.gate.passed()
        more = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            reply = await http.get(run.session, self._fetch.source, more, run.options)
        except aiohttp.ClientConnectorCertificateError as error:
            raise UnavailableError(
                f"{error.host} cannot prove who it is, so {self._name} is not "
                f"fetched: {error.certificate_error}",
                hint="If a proxy with its own certificate is in between, point "
                "SSL_CERT_FILE to that certificate.",
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            run.requests += 1
            raise RetryLaterError(f"no answer: {_reason(error)}") from error
        run.requests += reply.hops
        async with reply.response as response:
            check_reply(reply, self._name, offset, want)
            await self._body(response, ingest)
        if ingest.offset < want.size_bytes:
            raise RetryLaterError(f"{reply.host} stopped at byte {ingest.offset}")

    async def _body(self, response: aiohttp.ClientResponse, ingest: Ingest) -> None:
        """Copy the body; one block is written while the next is received."""
        options, watch = self._run.options, _Watch(self._run.options)
        gathered = bytearray()
        writing: asyncio.Future[None] | None = None
        try:
            while block := await _receive(response):
                await self._run.limiter.take(len(block))
                watch.saw(len(block))
                gathered += block
                if len(gathered) >= options.block_bytes:
                    if writing is not None:
                        await writing
                    writing, gathered = self._write(ingest, gathered), bytearray()
        finally:
            # Also when the connection broke: what has arrived is kept.
            if writing is not None:
                await writing
            if gathered:
                await self._write(ingest, gathered)

    def _write(self, ingest: Ingest, block: bytearray) -> "asyncio.Future[None]":
        def write() -> None:
            ingest.write(memoryview(block))

        self._run.bytes_fetched += len(block)
        self._show(self._shown + len(block))
        return asyncio.ensure_future(self._block(write))

    def _show(self, offset: int) -> None:
        """Tell progress that *offset* bytes are there now."""
        path, progress = self._fetch.path, self._run.progress
        if self._shown < 0:
            progress.file_started(path, self._fetch.want.size_bytes, offset)
        elif offset != self._shown:
            progress.file_advanced(path, offset - self._shown)
        self._shown = offset

    async def _pause(self, later: RetryLaterError, offset: int) -> None:
        options = self._run.options
        self._run.retries += 1
        # Not "more than before this request": a hub that ignores ranges and always
        # breaks at the same byte would be asked for ever.
        self._failures = 1 if offset > self._reached else self._failures + 1
        self._reached = max(self._reached, offset)
        wait = later.wait_s
        if wait is None:
            longest = options.backoff_base_s * 2.0 ** (self._failures - 1)
            wait = min(longest, options.backoff_max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        if self._failures > options.retries_max or wait > options.rate_limit_wait_max_s:
            raise UnavailableError(
                f"cannot fetch {self._name}: {later} (asked {self._failures} times"
                f"{'' if later.wait_s is None else f', has to wait {wait:.0f} s'})",
                hint=f"Try again later. {_RESUMED}",
            ) from later
        self._run.progress.note(f"{self._name}: {later}; again in {wait:.1f} s")
        if later.for_all:
            self._run.gate.close(wait)
        await asyncio.sleep(wait)

    async def _block(self, work: Callable[[], T]) -> T:
        """Run what blocks in the pool; finish it even when we are cancelled.

        A thread cannot be stopped, and the file it writes to must not be closed
        under it.
        """
        job = asyncio.get_running_loop().run_in_executor(self._run.pool, work)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait([job])
            raise


class _Watch:
    """Notices a body that trickles: each byte in time, the whole never."""

    def __init__(self, options: TransferOptions) -> None:
        self._clock = asyncio.get_running_loop().time
        self._window_s = options.rate_window_s
        self._least = options.rate_min_bytes_per_s * options.rate_window_s
        self._ends, self._bytes = self._clock() + self._window_s, 0

    def saw(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        if self._clock() < self._ends:
            return
        if self._bytes < self._least:
            raise RetryLaterError("the connection is too slow to be of use")
        self._ends, self._bytes = self._clock() + self._window_s, 0


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


async def _receive(response: aiohttp.ClientResponse) -> bytes:
    """What has arrived since the last time; empty at the end of the body."""
    try:
        return await response.content.readany()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        host = response.url.authority
        raise RetryLaterError(
            f"the connection to {host} broke: {_reason(error)}"
        ) from error


def _let_go(job: "Future[Ingest | HeldBlob]") -> None:
    if job.exception() is None and not isinstance(ingest := job.result(), HeldBlob):
        ingest.abort()


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
