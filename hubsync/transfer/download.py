"""One blob, from a hub into an ingest, whatever happens on the way."""

import asyncio
import threading
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from hubsync.model.spans import Span
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobCorruptError, FileTooLargeError, HeldBlob, Ingest
from hubsync.ports.hub import UnavailableError
from hubsync.transfer.body import copy_body
from hubsync.transfer.errors import (
    ContradictionError,
    ExpiredError,
    LongBodyError,
    RetryLaterError,
    StartOverError,
)
from hubsync.transfer.fetch import Fetch
from hubsync.transfer.http import Reply
from hubsync.transfer.lanes import Lanes
from hubsync.transfer.parts import Parts, clipped
from hubsync.transfer.patience import Patience
from hubsync.transfer.replies import Found, check_listed, check_part
from hubsync.transfer.run import Run, undisturbed
from hubsync.transfer.shown import Shown
from hubsync.transfer.tuner import Tuner
from hubsync.transfer.verdicts import ContradictoryUpstreamError, CorruptUpstreamError

T = TypeVar("T")
REFETCHES_MAX = 1  # from scratch: a proxy may have cut or mixed up the body
HASH_BYTES = 64 * MIB  # hashed in one go, before another file has its turn
CHECKPOINT_LOOK_S = 0.2


class Download:
    """Carries out one `Fetch`."""

    def __init__(
        self, fetch: Fetch, run: Run, begun: Ingest | HeldBlob | None = None
    ) -> None:
        self._fetch, self._run, self._begun = fetch, run, begun
        self._want, self._source = fetch.want, fetch.source
        self._name = f"{fetch.path} of {fetch.repo}"
        self._shown = Shown(run, fetch.path, fetch.size_bytes)
        self._patience = Patience(run, self._name)
        self._refetches = 0  # because what came was wrong
        self._starts_over = 0  # because the hub gives no ranges
        self._one_stream = False  # the hub does not give ranges of this file
        self._via: str | None = None  # the address that gave bytes last
        self._etag: str | None = None  # what it calls them, and
        self._etag_host = ""  # who does: another host may call them otherwise
        self._asking = asyncio.Lock()  # one asks the way, the others wait
        self._arrived = asyncio.Event()
        self._watch = fetch.watch

    async def run_to_end(self) -> Ingest | HeldBlob:
        """Fetch until the bytes are verified; the ingest is then to be published.

        Raises:
            BlobCorruptError, ContradictoryUpstreamError: wrong twice.
            HubError: the hub says no, or says nothing for too long.
            NoRoomError: the store is full.  What was fetched is kept.
        """
        try:
            return await self._until_verified()
        except FileTooLargeError as error:
            named = f"{self._name}: {error}"
            raise FileTooLargeError(named, hint=error.hint) from error

    async def _until_verified(self) -> Ingest | HeldBlob:
        while True:
            ingest = await self._begin()
            if isinstance(ingest, HeldBlob):
                self._shown.arrived(self._want.size_bytes)
                return ingest
            done = False
            try:
                self._shown.arrived(self._there(ingest))
                if self._watch:
                    self._watch.begun(ingest)
                await self._fill(ingest)
                await self._verify(ingest)
                self._shown.verified(self._want.size_bytes)
                if self._watch:
                    self._watch.verified()
                done = True
            except BlobCorruptError as error:
                self._shown.nothing()
                self._again_or_raise(error)
            finally:
                if not done:
                    ingest.abort()
            if done:
                return ingest

    async def _verify(self, ingest: Ingest) -> None:
        if self._want.size_bytes <= self._run.options.whole_bytes_max:
            ingest.verify()  # hashed as it came: no wait, so no thread
        else:
            # In pieces: of a partial that was resumed there may be an hour's worth.
            while await self._hash_more(ingest):
                pass
            await self._run.disk(ingest.verify)

    async def _begin(self) -> Ingest | HeldBlob:
        begin, want = self._run.blobs.begin, self._want
        ingest, self._begun = self._begun, None
        if ingest is None:
            ingest = await self._run.disk(lambda: begin(want, wait=False), let_go)
        return await self._begin_patiently() if ingest is None else ingest

    async def _begin_patiently(self) -> Ingest | HeldBlob:
        """Wait for the ingest.  If cancelled meanwhile, let go of it when it comes.

        Another process may have it for hours.  The thread that waits is nobody's
        but its own: neither the pool nor the end of the program waits for it.
        """
        job: Future[Ingest | HeldBlob] = Future()
        begin, want = self._run.blobs.begin, self._want

        def run() -> None:
            if not job.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            try:
                ingest = begin(want)
                assert ingest is not None, "it waited"
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits it
                job.set_exception(error)
            else:
                job.set_result(ingest)

        threading.Thread(target=run, name="begin", daemon=True).start()
        self._run.waiting += 1
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(
                lambda job: let_go(
                    None if job.cancelled() or job.exception() else job.result()
                )
            )
            raise
        finally:
            self._run.waiting -= 1

    def _again_or_raise(self, error: BlobCorruptError) -> None:
        self._refetches += 1
        self._forget_the_way()
        if self._refetches > REFETCHES_MAX:
            raise CorruptUpstreamError(self._fetch, error) from error
        self._run.retries += 1
        self._patience.start_over()
        self._run.progress.note(f"{self._name}: {error}; fetching it once more")

    async def _fill(self, ingest: Ingest) -> None:
        """Bring in every missing byte, starting over when that has to be."""
        while ingest.missing():
            try:
                await self._lanes(ingest)
            except StartOverError as why:
                await self._come_in_one_stream(ingest, why)
            except ContradictionError as why:
                await self._refetch(ingest, why)
            except LongBodyError as error:
                reject = partial(ingest.reject, str(error))
                raise await self._run.disk(reject) from error

    async def _come_in_one_stream(self, ingest: Ingest, why: StartOverError) -> None:
        self._starts_over += 1
        if self._starts_over > self._run.options.retries_max:
            # Also if each time a byte more came than ever before.
            raise UnavailableError(
                f"cannot fetch {self._name}: {why}, and it breaks again and again",
                hint="The hub, or a proxy in between, gives a file only in one "
                "piece. Try another time or another network.",
            ) from why
        if not self._one_stream:
            self._one_stream = True
            self._patience.start_over()
        await self._restart(ingest, why)

    async def _refetch(self, ingest: Ingest, why: ContradictionError) -> None:
        self._refetches += 1
        if self._refetches > REFETCHES_MAX:
            if self._there(ingest):
                await self._run.disk(partial(ingest.reject, str(why)))
            self._shown.nothing()
            raise ContradictoryUpstreamError(self._fetch, why) from why
        self._patience.start_over()
        await self._restart(ingest, why)

    async def _restart(self, ingest: Ingest, why: Exception) -> None:
        self._forget_the_way()
        await self._run.disk(ingest.restart)
        if self._watch:
            # Not before: who joined in between would take the old bytes for new.
            self._watch.restarted()
        self._shown.nothing()
        await self._patience.pause(RetryLaterError(f"{why}; starting over"), 0)

    async def _lanes(self, ingest: Ingest) -> None:
        options, missing = self._run.options, ingest.missing()
        left = sum(stop - start for start, stop in missing)
        whole = self._one_stream or left <= options.whole_bytes_max
        parts = Parts(
            missing,
            bytes_min=left if whole else options.part_bytes_min,
            bytes_max=left if whole else options.part_bytes_max,
        )
        if self._want.size_bytes <= options.whole_bytes_max:
            while (span := parts.take(1)) is not None:
                await self._part(ingest, parts, span)
            return
        fits = -(-left // options.part_bytes_min)
        most = 1 if whole else min(options.connections_per_file_max, fits)
        await undisturbed(self._fill_in_parts(ingest, parts, most))

    async def _fill_in_parts(self, ingest: Ingest, parts: Parts, most: int) -> None:
        async with asyncio.TaskGroup() as tasks:

            async def fetch_part(span: Span) -> None:
                await self._part(ingest, parts, span)

            lanes = Lanes(fetch_part, parts, Tuner(most), tasks, self._arrived.set)
            lanes.widen()
            tasks.create_task(self._hash_along(ingest, lanes))
            tasks.create_task(lanes.tune(lambda: self._shown.there))
            tasks.create_task(self._checkpoints(ingest, lanes))

    async def _part(self, ingest: Ingest, parts: Parts, span: Span) -> None:
        """Ask for *span* once; what did not come of it is given back to *parts*."""
        try:
            async with self._run.slots.one(self):
                await self._request(ingest, span)
            later = None
        except RetryLaterError as error:
            later = error
        if rest := clipped(ingest.missing(), span):
            parts.give_back(rest)
            later = later or RetryLaterError(f"the hub stopped at byte {rest[0][0]}")
        if later is not None:
            await self._patience.pause(later, self._there(ingest))

    async def _request(self, ingest: Ingest, span: Span) -> None:
        start, stop = span
        whole = (start, stop) == (0, self._want.size_bytes)
        headers = {} if whole else {"Range": f"bytes={start}-{stop - 1}"}
        reply = await self._ask(headers, span)
        async with reply.response:
            await copy_body(self._run, reply, ingest, span, self._advanced)

    async def _ask(self, headers: dict[str, str], span: Span) -> Reply:
        """Ask where bytes came from last; else find the way from the hub on."""
        if self._via is None:
            async with self._asking:
                if self._via is None:
                    await self._patience.calm()
                    return await self._checked(headers, span, None)
        return await self._checked(headers, span, self._via)

    async def _checked(
        self, headers: dict[str, str], span: Span, via: str | None
    ) -> Reply:
        reply = await self._run.courier.get(self._source, headers, via)
        try:
            found = self._accept(reply, headers, span)
        except BaseException as error:
            if isinstance(error, ExpiredError):
                error.is_known = self._via != via
                if not error.is_known:
                    # The ETag stays: the next address must lead to the same bytes.
                    self._via = None
            reply.response.close()  # its body is of no use, and may be long
            raise
        # An address that another lane found expired meanwhile stays forgotten.
        if via is None or self._via == via:
            self._via = reply.url
            self._etag, self._etag_host = found.etag, reply.host
        return reply

    def _accept(self, reply: Reply, headers: dict[str, str], span: Span) -> Found:
        if self._refetches:
            check_listed(reply, self._want)
        comparable = headers and reply.host == self._etag_host
        etag = self._etag if comparable else None
        found = check_part(reply, self._name, span, self._want, etag)
        if found.whole and headers:
            raise StartOverError(f"{reply.host} gives no ranges of it")
        return found

    def _forget_the_way(self) -> None:
        self._via = self._etag = None

    async def _hash_along(self, ingest: Ingest, lanes: Lanes) -> None:
        """Hash behind the write head, so that the end is verified as it comes."""
        while True:
            if await self._hash_more(ingest):
                continue
            if lanes.over:
                # Not "all is hashed": small blocks are hashed as they are
                # written, which nobody counts here.  `verify` does the rest.
                return
            await self._arrived.wait()
            self._arrived.clear()

    async def _hash_more(self, ingest: Ingest) -> bool:
        """Hash some of what is there without a gap; whether there was any."""
        got = await self._run.hash(lambda: ingest.hash_ahead(HASH_BYTES))
        self._shown.verified(self._shown.hashed + got)
        return got > 0

    async def _checkpoints(self, ingest: Ingest, lanes: Lanes) -> None:
        """Now and then, make what has arrived survive a power cut."""
        options, clock = self._run.options, asyncio.get_running_loop().time
        synced, synced_at = self._shown.there, clock()
        while not await lanes.over_within(CHECKPOINT_LOOK_S):
            new = self._shown.there - synced
            late = clock() - synced_at >= options.checkpoint_s
            if new >= options.checkpoint_bytes or (late and new > 0):
                synced, synced_at = self._shown.there, clock()
                await self._run.disk(ingest.checkpoint)

    def _advanced(self, size_bytes: int) -> None:
        self._shown.arrived(self._shown.there + size_bytes)
        self._arrived.set()
        if self._watch:
            self._watch.advanced()

    def _there(self, ingest: Ingest) -> int:
        missing = sum(stop - start for start, stop in ingest.missing())
        return self._want.size_bytes - missing


def let_go(ingest: Ingest | HeldBlob | None) -> None:
    """Nobody is there to go on with *ingest*."""
    if ingest is not None and not isinstance(ingest, HeldBlob):
        ingest.abort()
