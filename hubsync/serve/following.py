"""Answering with a file that is just coming from the upstream."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import BinaryIO, Protocol

from aiohttp import web

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.errors import HubsyncError, NotHeldError
from hubsync.model.repo import RepoType
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.model.spans import Span
from hubsync.ports.hub import UnavailableError
from hubsync.serve.events import Event
from hubsync.serve.files import FileSender, choose
from hubsync.serve.found import Found
from hubsync.serve.library import Library
from hubsync.serve.missing import problem_of_fetching, problem_of_learning
from hubsync.serve.routing import Route
from hubsync.serve.visit import paced, pieces_of
from hubsync.sync.incoming import Coming, Reader
from hubsync.wire.ranges import ByteRange

log = logging.getLogger("hubsync.serve")

# Clients have patience for 10 s: by then they get an answer, or at least headers.
ANSWER_WITHIN_S = 8.0


class Source(Protocol):
    """`sync.ondemand.OnDemand`, or `sync.remote.Remote` where that is elsewhere."""

    async def close(self) -> None:
        """End it."""

    def has_upstream(self, row: RepoRow) -> bool:
        """As `OnDemand.has_upstream`."""

    async def learn(
        self, row: RepoRow | None, repo_type: RepoType, name: str, revision: str | None
    ) -> None:
        """As `OnDemand.learn`."""

    def used(self, row: RepoRow, revision: str | None) -> None:
        """As `OnDemand.used`."""

    def bring(self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry) -> Coming:
        """As `OnDemand.bring`."""

    def pass_on(
        self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry, span: Span
    ) -> AsyncGenerator[bytes, None]:
        """As `OnDemand.pass_on`."""


class Following:
    """As `Missing`, by what *source* gets."""

    def __init__(
        self,
        source: Source,
        library: Library,
        sender: FileSender,
        *,
        keeps: bool = True,
    ) -> None:
        self._source, self._library, self._sender = source, library, sender
        self._keeps = keeps  # what is fetched; else it is passed on

    async def learn(
        self, row: RepoRow | None, route: Route, *, shown: bool = False
    ) -> None:
        """As `Missing.learn`."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._source.learn(
                    row, route.repo_type, route.name, route.revision
                )
        except TimeoutError:
            # The question goes on, and its answer is there for the next one.
            slow = UnavailableError("it has not answered yet", retry_after_s=1.0)
            raise problem_of_learning(slow, route, row) from None
        except HubsyncError as error:
            raise problem_of_learning(error, route, row, shown=shown) from error

    def used(self, row: RepoRow, revision: str | None) -> None:
        """As `Missing.used`."""
        self._source.used(row, revision)

    def can_fetch(self, row: RepoRow) -> bool:
        """As `Missing.can_fetch`."""
        return self._source.has_upstream(row)

    async def send(
        self,
        request: web.Request,
        found: Found,
        one: HeldEntry,
        etag: str,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """As `Missing.send`: the file's beginning leaves while its end is coming.

        A range that ends before the file does waits until all of it is verified:
        its reader would never learn that it was wrong.
        """
        path = one.entry.path
        chosen = choose(request, path, one.entry.size_bytes, etag, headers)
        if isinstance(chosen, web.Response):
            return chosen
        status, part, common = chosen
        response = web.StreamResponse(status=status, headers=common)
        response.content_length = part.size_bytes
        if request.method == "HEAD" or not part.size_bytes:
            # All there is to say is in the tree.
            if self._keeps and not one.entry.size_bytes:
                self._keep_nothing(found, one)
            await response.prepare(request)
            return response
        try:
            if self._keeps:
                await self._follow(request, response, found, one, part)
            else:
                await self._pass_on(request, response, found, one, part)
        except HubsyncError as error:
            if response.prepared:
                raise _cut_off(request, path, error) from error
            raise problem_of_fetching(error, found, path) from error
        except BaseException:
            if response.prepared and request.transport is not None:
                request.transport.abort()
            raise
        return response

    def _keep_nothing(self, found: Found, one: HeldEntry) -> None:
        """Have an empty file stored: clients that know that it is send no GET."""
        with suppress(HubsyncError):  # the answer wants nothing of the upstream
            self._source.bring(found.row, found.snapshot, one.entry)

    async def _follow(
        self,
        request: web.Request,
        response: web.StreamResponse,
        found: Found,
        one: HeldEntry,
        part: ByteRange,
    ) -> None:
        incoming = self._source.bring(found.row, found.snapshot, one.entry)
        with Reader(incoming) as reader:
            await _wait_a_little(incoming, reader, part)
            await response.prepare(request)
            async for fd, here in self._pieces(found, incoming, reader, part):
                async with aclosing(pieces_of(request, here)) as pieces:
                    async for piece in pieces:
                        await self._sender.mover.send(request, response, fd, piece)

    async def _pass_on(
        self,
        request: web.Request,
        response: web.StreamResponse,
        found: Found,
        one: HeldEntry,
        part: ByteRange,
    ) -> None:
        span = (part.start, part.stop)
        blocks = self._source.pass_on(found.row, found.snapshot, one.entry, span)
        async with aclosing(blocks):
            async for block in blocks:
                if not response.prepared:
                    await response.prepare(request)
                await paced(request, len(block))
                await self._sender.mover.write(response, block)

    async def _pieces(
        self, found: Found, incoming: Coming, reader: Reader, part: ByteRange
    ) -> AsyncIterator[tuple[int, ByteRange]]:
        """``(descriptor, range in it)`` of what may be sent, as it comes."""
        if part.stop < incoming.size_bytes:
            await incoming.stored()
        at = part.start
        while at < part.stop:
            shown = await reader.reach(at)
            if shown is None:
                with await self._stored(found) as file:
                    yield file.fileno(), ByteRange(at, part.stop)
                return
            here = ByteRange(at, min(shown, part.stop))
            yield reader.fd, here
            at = here.stop

    async def _stored(self, found: Found) -> BinaryIO:
        """The file in the store, where all of it is by now."""
        library = self._library
        one = await library.ask(library.catalog.entry, found.snapshot, found.route.path)
        if one is None or one.digest is None:
            raise NotHeldError("it was taken out of the store again")
        return library.blobs.open(one.digest)


async def _wait_a_little(incoming: Coming, reader: Reader, part: ByteRange) -> None:
    """Until *part* begins to come, or clients lose their patience.

    Raises:
        UnavailableError: by then nothing at all has come.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_WITHIN_S):
            if part.stop == incoming.size_bytes:
                await reader.reach(part.start)
            else:
                await incoming.stored()
    if not (incoming.shown_bytes or incoming.is_over):
        # The fetch goes on, and what comes of it is there for the next one.
        raise UnavailableError("no byte of it has come yet", retry_after_s=1.0)


def _cut_off(request: web.Request, path: str, error: Exception) -> ConnectionError:
    """More was announced than will come: the client must see that it is cut."""
    if request.transport is not None:
        request.transport.abort()
    log.warning(Event("fetched file cut off", path=path, why=str(error)))
    return ConnectionResetError("the file did not come whole")
