"""Many blobs at once, fairly, and each recorded as soon as it is durable."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from hubsync.ports.blobs import BlobStore, HeldBlob
from hubsync.ports.progress import Progress
from hubsync.transfer.download import Download, Run
from hubsync.transfer.fetch import Fetch, FetchReport, Recorder
from hubsync.transfer.http import new_session
from hubsync.transfer.limiter import RateLimiter
from hubsync.transfer.options import TransferOptions

__all__ = ["Engine", "Fetch", "FetchReport"]


class Engine:
    """Fetches blobs into a store.  Use as an async context manager."""

    def __init__(
        self, blobs: BlobStore, options: TransferOptions, progress: Progress
    ) -> None:
        self._blobs, self._options, self._progress = blobs, options, progress
        self._limiter = RateLimiter(options.rate_bytes_per_s)

    async def __aenter__(self) -> Self:
        self._session = new_session(self._options)
        self._pool = ThreadPoolExecutor(self._options.files_in_flight_max, "ingest")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()
        self._pool.shutdown(wait=False)

    async def fetch_all(self, items: Sequence[Fetch], on_done: Recorder) -> FetchReport:
        """Fetch *items*; *on_done* records what is durable, in groups, in a thread.

        The first fatal error, of a file or of *on_done*, stops the run.  What is
        done by then is recorded; what is not is kept for the next run.

        Raises:
            HubError, BlobCorruptError, NoRoomError: the first that was met.
        """
        run = Run(
            session=self._session,
            blobs=self._blobs,
            options=self._options,
            limiter=self._limiter,
            progress=self._progress,
            pool=self._pool,
        )
        group = _GroupCommit(on_done, self._progress)
        recording = asyncio.create_task(group.run())
        fetching = asyncio.create_task(self._fetch(items, run, group))
        try:
            # The recorder ends by itself only if it failed.
            await asyncio.wait(
                [fetching, recording], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            fetching.cancel()
            await asyncio.wait([fetching])
            group.close()
            await recording
        try:
            fetching.result()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        return FetchReport(run.bytes_fetched, run.requests, run.retries)

    async def _fetch(
        self, items: Sequence[Fetch], run: Run, group: "_GroupCommit"
    ) -> None:
        waiting = deque(sorted(items, key=lambda item: -item.want.size_bytes))

        async def worker(*, largest_first: bool) -> None:
            # One half works off the large files, which take longest; the other
            # half the small ones, which would else queue behind them.
            while waiting:
                fetch = waiting.popleft() if largest_first else waiting.pop()
                blob = await Download(fetch, run).run_to_end()
                group.add(fetch.path, blob)

        async with asyncio.TaskGroup() as tasks:
            for number in range(min(self._options.files_in_flight_max, len(items))):
                tasks.create_task(worker(largest_first=number % 2 == 0))


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


class _GroupCommit:
    """Records blobs while others arrive: one commit for all that came meanwhile.

    A commit waits for the disk; one a file would make small files slow.
    """

    def __init__(self, record: Recorder, progress: Progress) -> None:
        self._record, self._progress = record, progress
        self._arrived: list[tuple[str, HeldBlob]] = []
        self._wake = asyncio.Event()
        self._closed = False

    def add(self, path: str, blob: HeldBlob) -> None:
        self._arrived.append((path, blob))
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        while self._arrived or not self._closed:
            await self._wake.wait()
            self._wake.clear()
            group, self._arrived = self._arrived, []
            if group:
                await asyncio.to_thread(self._record, [blob for _, blob in group])
                for path, _ in group:
                    self._progress.file_done(path)
            if self._closed:
                self._wake.set()
