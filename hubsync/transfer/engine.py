"""Many blobs at once, fairly, and each published soon after it is verified."""

import asyncio
import os
import resource
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from hubsync.model.errors import IntegrityError
from hubsync.model.spans import Span
from hubsync.ports.blobs import BlobStore, FileTooLargeError, HeldBlob, Ingest
from hubsync.ports.hub import FileNotFoundOnHubError, UnavailableError
from hubsync.ports.limiter import Budget
from hubsync.ports.progress import Progress
from hubsync.transfer.buffers import Buffers
from hubsync.transfer.download import Download, let_go
from hubsync.transfer.fetch import Fetch, FetchReport, Publisher
from hubsync.transfer.groups import Groups
from hubsync.transfer.http import Courier, Session
from hubsync.transfer.limiter import Gates, RateLimiter
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.passing import pass_on
from hubsync.transfer.run import Run, weightiest
from hubsync.transfer.slots import Slots

__all__ = ["Engine", "Fetch", "FetchReport"]

DISK_THREADS = 6  # one of them is often waiting for a sync
FEW = 16  # small files that are begun at once
STALL_LOOK_S = 1.0
_FILES_KEPT_FREE = 40  # of the process's open files: the catalog, the log, stdio
# The fault of one file: the others go on, and this one is told at the end.
_OF_ONE_FILE = (IntegrityError, FileNotFoundOnHubError, FileTooLargeError)


class Engine:
    """Fetches blobs into a store.  Use as an async context manager."""

    def __init__(
        self,
        blobs: BlobStore,
        options: TransferOptions,
        progress: Progress,
        budget: Budget | None = None,
    ) -> None:
        self._blobs, self._options, self._progress = blobs, options, progress
        self._shared_budget = budget
        self._limiter = RateLimiter(options.rate_bytes_per_s)
        # Each connection may need an open file for its ingest, one may wait to be
        # published, and the body of a large file takes three more.
        self._files = max((_open_files_max() - _FILES_KEPT_FREE) // 6, 2)

    async def __aenter__(self) -> Self:
        self._session = Session(self._options)
        # What one run is told of a host's limits holds for the next one too.
        own = Gates(self._options, note=self._progress.note)
        self._budget: Budget = self._shared_budget or own
        self._disk_pool = ThreadPoolExecutor(DISK_THREADS, "disk")
        self._hash_pool = ThreadPoolExecutor(os.cpu_count() or 1, "hash")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()
        self._disk_pool.shutdown(wait=False)
        self._hash_pool.shutdown(wait=False)

    async def fetch_all(
        self, items: Sequence[Fetch], publish: Publisher
    ) -> FetchReport:
        """Fetch *items*; *publish* gets groups of what is verified, in a thread.

        A file that the hub does not have, or has wrong, or that is too large for
        the disk does not stop the others; every other error does.  What is
        verified by then is published, what is not is kept for the next run, and
        the first error is raised.

        Raises:
            HubError, BlobCorruptError, NoRoomError: the first that was met.
        """
        connections = min(self._options.connections_max, self._files)
        run = Run(
            courier=self._courier(),
            blobs=self._blobs,
            options=replace(self._options, connections_max=connections),
            limiter=self._limiter,
            progress=self._progress,
            disk_pool=self._disk_pool,
            hash_pool=self._hash_pool,
            slots=Slots(connections),
            buffers=Buffers(self._options.block_bytes),
        )
        run.byte_at = asyncio.get_running_loop().time()
        groups = Groups(publish, self._progress, open_max=2 * self._files)
        failures: list[BaseException] = []
        publishing = asyncio.create_task(groups.run())
        fetching = asyncio.create_task(
            _fetch_watched(_Files(items, run, groups, failures), run)
        )
        try:
            # The publishing ends by itself only if it failed.
            await asyncio.wait(
                [fetching, publishing], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            fetching.cancel()
            await asyncio.wait([fetching])
            if not fetching.cancelled():
                # Looked at, or asyncio would print it when the publishing failed.
                fetching.exception()
            groups.close()
            try:
                await publishing
            finally:
                groups.abandon()
                run.pipes.close()
        try:
            fetching.result()
        except BaseExceptionGroup as errors:
            raise weightiest(errors) from None
        if failures:
            raise min(failures, key=lambda one: not isinstance(one, IntegrityError))
        return FetchReport(
            run.bytes_fetched, run.courier.requests, run.retries, run.bytes_resumed
        )

    def pass_on(self, item: Fetch, span: Span) -> AsyncGenerator[bytes, None]:
        """As `passing.pass_on`: the bytes of *span*, of which nothing is kept."""
        return pass_on(self._courier(), item, span, self._options)

    def _courier(self) -> Courier:
        note = self._progress.note
        return Courier(self._session, self._options, self._budget, note=note)


async def _fetch_watched(files: "_Files", run: Run) -> None:
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(_watch_for_stall(run))
        await files.fetch()
        watching.cancel()


class _Files:
    """Which file is begun next."""

    def __init__(
        self,
        items: Sequence[Fetch],
        run: Run,
        groups: Groups,
        failures: list[BaseException],
    ) -> None:
        by_size = sorted(items, key=lambda item: -item.size_bytes)
        least = run.options.whole_bytes_max
        self._large = deque(one for one in by_size if one.size_bytes > least)
        self._small = deque(one for one in by_size if one.size_bytes <= least)
        self._run, self._groups, self._failures = run, groups, failures

    async def fetch(self) -> None:
        """Work off the large files, a few at a time, and beside them the small."""
        options = self._run.options
        large = min(len(self._large), options.large_files_max)
        # Half of the connections stay free for the large files, if there are any.
        most = options.connections_max // 2 if large else options.connections_max
        async with asyncio.TaskGroup() as tasks:
            for _ in range(large):
                tasks.create_task(self._work_off(self._large))
            for _ in range(min(len(self._small), max(most, 1))):
                tasks.create_task(self._work_off_small())

    async def _work_off(self, waiting: deque[Fetch]) -> None:
        while waiting:
            await self._groups.room()
            if waiting:
                await self._fetch(waiting.popleft(), None)
            else:
                self._groups.leave()

    async def _work_off_small(self) -> None:
        """As above, where each begin is too little to ask a thread for."""
        connections = self._run.options.connections_max
        while self._small:
            # No more than each worker's share of the room: two that wait for the
            # rest of theirs would wait for ever.
            most = min(self._groups.open_max // connections, FEW)
            few = max(min(len(self._small) // connections, most), 1)
            batch = [self._small.popleft() for _ in range(few)]
            for _ in batch:
                await self._groups.room()
            begun = await self._run.disk(partial(self._begin, batch), _let_all_go)
            # What somebody else has comes last: who waits for it must hold nothing
            # that the other may be waiting for.
            left = deque(
                sorted(zip(batch, begun, strict=True), key=lambda one: one[1] is None)
            )
            try:
                while left:
                    await self._fetch(*left.popleft())
            finally:
                _let_all_go([ingest for _, ingest in left])

    def _begin(self, batch: Iterable[Fetch]) -> list[Ingest | HeldBlob | None]:
        begun: list[Ingest | HeldBlob | None] = []
        try:
            for one in batch:
                begun.append(self._run.blobs.begin(one.want, wait=False))  # noqa: PERF401 - kept for the way out
        except BaseException:
            _let_all_go(begun)
            raise
        return begun

    async def _fetch(self, fetch: Fetch, begun: Ingest | HeldBlob | None) -> None:
        try:
            blob = await Download(fetch, self._run, begun).run_to_end()
        except _OF_ONE_FILE as error:
            self._groups.leave()
            self._failures.append(error)
            # Another error may end the run before this one is told.
            self._run.progress.note(str(error))
        else:
            self._groups.add(fetch.path, blob)


def _let_all_go(begun: Iterable[Ingest | HeldBlob | None]) -> None:
    for one in begun:
        let_go(one)


async def _watch_for_stall(run: Run) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(STALL_LOOK_S)
        if run.waiting:
            run.byte_at = clock()  # others fetch for us
        quiet_until = max(run.courier.quiet_until, run.limiter.quiet_until)
        silent_s = clock() - max(run.byte_at, quiet_until)
        if silent_s > run.options.stall_timeout_s:
            raise UnavailableError(
                f"no byte of any file has arrived for {silent_s:.0f} s",
                hint="Check the network. What has arrived is kept, and the next "
                "pull goes on from there.",
            )


def _open_files_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65536 if soft == resource.RLIM_INFINITY else soft
