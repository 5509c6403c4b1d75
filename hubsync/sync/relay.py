"""One process fetches from the upstream for several: the side that fetches.

Of many who ask for the same, in whichever process, one request goes upstream.  Bytes
do not pass through here: whoever serves gets a descriptor of the file that is being
written, and hears how far it may be read.
"""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from dataclasses import dataclass, replace

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoType
from hubsync.model.snapshot import TreeEntry
from hubsync.sync.channel import Channel
from hubsync.sync.incoming import Coming
from hubsync.sync.ondemand import OnDemand

log = logging.getLogger("hubsync.ondemand")


@dataclass(frozen=True, slots=True)
class Learn:
    """As `OnDemand.learn`; the answer is an `Answer` of that number."""

    number: int
    row: RepoRow | None
    repo_type: RepoType
    name: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Used:
    """As `OnDemand.used`."""

    row: RepoRow
    revision: str | None


@dataclass(frozen=True, slots=True)
class Bring:
    """As `OnDemand.bring`; what becomes of it are `State`s of that number."""

    number: int
    row: RepoRow
    snapshot: SnapshotRow
    entry: TreeEntry


@dataclass(frozen=True, slots=True)
class Answer:
    """It is recorded, or *error*."""

    number: int
    error: HubsyncError | None


@dataclass(frozen=True, slots=True)
class State:
    """How far a `Coming` is.  With a descriptor where it is another file."""

    number: int
    start: int = 0
    shown_bytes: int = 0
    is_verified: bool = False
    is_over: bool = False
    error: HubsyncError | None = None


class Relay:
    """Does for other processes what `OnDemand` does.  Lives in one event loop."""

    def __init__(self, ondemand: OnDemand) -> None:
        self._ondemand = ondemand
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, end: socket.socket) -> None:
        """Serve whoever has the other end, until he is gone; closes *end*."""
        self._start(self._tasks, self._serve(Channel(end)))

    async def close(self) -> None:
        """Leave all; what they have asked for goes on."""
        await _cancel(self._tasks)

    async def _serve(self, channel: Channel) -> None:
        asked: set[asyncio.Task[None]] = set()
        try:
            async for message, _ in channel.messages():
                if isinstance(message, Used):
                    self._ondemand.used(message.row, message.revision)
                elif isinstance(message, Learn):
                    self._start(asked, self._learn(channel, message))
                elif isinstance(message, Bring):
                    self._start(asked, self._bring(channel, message))
        finally:
            await _cancel(asked)
            await channel.close()

    async def _learn(self, channel: Channel, question: Learn) -> None:
        error = None
        try:
            await self._ondemand.learn(
                question.row, question.repo_type, question.name, question.revision
            )
        except HubsyncError as refusal:
            error = refusal
        await channel.post(Answer(question.number, error))

    async def _bring(self, channel: Channel, wish: Bring) -> None:
        try:
            coming = self._ondemand.bring(wish.row, wish.snapshot, wish.entry)
        except HubsyncError as error:
            await channel.post(State(wish.number, is_over=True, error=error))
            return
        told: State | None = None
        shown = 0  # of which start the other side has the file
        while told is None or not told.is_over:
            state = _state_of(coming, wish.number)
            if state == told:
                await coming.moved()
                continue
            file = None
            if state.shown_bytes and shown != state.start:
                file, shown = coming.dup(), state.start
            await channel.post(state, file)
            told = state

    @staticmethod
    def _start(
        tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]
    ) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(_complain)


def _state_of(coming: Coming, number: int) -> State:
    state = State(number, coming.start, is_verified=coming.is_verified)
    if not coming.is_over:
        return replace(state, shown_bytes=coming.shown_bytes)
    error = coming.error
    if error is not None and not isinstance(error, HubsyncError):
        error = HubsyncError(f"the fetch was ended: {error!r}")
    return replace(state, is_over=True, error=error)


async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
    ending = [*tasks]
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("fetching for another process failed", exc_info=error)
