"""One process fetches from the upstream for several: the side that serves."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoType
from hubsync.model.snapshot import TreeEntry
from hubsync.model.spans import Span
from hubsync.ports.hub import UnavailableError
from hubsync.sync.channel import Channel
from hubsync.sync.incoming import Coming
from hubsync.sync.ondemand import OnDemand
from hubsync.sync.relay import Answer, Bring, Learn, State, Used

USED_AGAIN_S = 1.0  # a revision that is read all the time is told of so often
USED_KEPT = 10_000


class RemoteComing(Coming):
    """A `Coming` of another process."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._shown_bytes = 0
        self._file: int | None = None

    def update(self, state: State, file: int | None) -> None:
        """Be as *state*; *file* is ours."""
        if file is not None:
            self._close()
            self._file = file
        self.start, self.is_verified = state.start, state.is_verified
        self._shown_bytes = state.shown_bytes
        if state.is_over:
            self.end(state.error)
        else:
            self._wake()

    @property
    def shown_bytes(self) -> int:
        """As `Coming.shown_bytes`."""
        return self._shown_bytes

    def dup(self) -> int:
        """As `Coming.dup`."""
        assert self._file is not None, "only while something is shown"
        return os.dup(self._file)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


class Remote:
    """As `OnDemand`, which another process has: `relay` is there.

    *local* passes on what is not kept: it is nobody else's either.
    """

    def __init__(self, end: socket.socket, local: OnDemand) -> None:
        self._local = local
        self._channel = Channel(end)
        self._numbers = count()
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._states: dict[int, RemoteComing] = {}
        self._coming: dict[str, RemoteComing] = {}  # by what tells blobs apart
        self._used: dict[tuple[int, str | None], float] = {}
        self._lost: UnavailableError | None = None
        self._hearing = asyncio.create_task(self._hear())

    async def close(self) -> None:
        """As `OnDemand.close`; what was asked for goes on without us."""
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)
        await self._channel.close()
        await self._local.close()

    def has_upstream(self, row: RepoRow) -> bool:
        """As `OnDemand.has_upstream`."""
        return self._local.has_upstream(row)

    async def learn(
        self, row: RepoRow | None, repo_type: RepoType, name: str, revision: str | None
    ) -> None:
        """As `OnDemand.learn`."""
        self._require_heard()
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._channel.post(Learn(number, row, repo_type, name, revision))
            await answer
        finally:
            del self._answers[number]

    def used(self, row: RepoRow, revision: str | None) -> None:
        """As `OnDemand.used`."""
        now = time.monotonic()
        key = row.id, revision
        if not self.has_upstream(row) or now < self._used.get(key, 0.0) + USED_AGAIN_S:
            return
        if len(self._used) >= USED_KEPT:
            self._used.clear()
        self._used[key] = now
        self._channel.post(Used(row, revision))

    def bring(self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry) -> Coming:
        """As `OnDemand.bring`; what it would raise ends the `Coming`."""
        self._require_heard()
        key = entry.want.key
        coming = self._coming.get(key)
        if coming is None or coming.is_over:
            number = next(self._numbers)
            coming = self._coming[key] = RemoteComing(entry.size_bytes)
            self._states[number] = coming
            self._channel.post(Bring(number, row, snapshot, entry))
        return coming

    async def pass_on(
        self, row: RepoRow, snapshot: SnapshotRow, entry: TreeEntry, span: Span
    ) -> AsyncGenerator[bytes, None]:
        """As `OnDemand.pass_on`."""
        async with aclosing(self._local.pass_on(row, snapshot, entry, span)) as blocks:
            async for block in blocks:
                yield block

    def _require_heard(self) -> None:
        if self._lost is not None:
            raise self._lost.with_traceback(None)

    async def _hear(self) -> None:
        try:
            async for message, file in self._channel.messages():
                if isinstance(message, Answer):
                    self._answered(message)
                elif isinstance(message, State):
                    self._stated(message, file)
        finally:
            self._lost = UnavailableError("the process that fetches has ended")
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(self._lost)
            for coming in self._states.values():
                coming.end(self._lost)
            self._states.clear()
            self._coming.clear()

    def _answered(self, message: Answer) -> None:
        answer = self._answers.get(message.number)  # nobody waits: he has left
        if answer is None or answer.done():
            return
        if message.error is None:
            answer.set_result(None)
        else:
            answer.set_exception(message.error)

    def _stated(self, message: State, file: int | None) -> None:
        coming = self._states[message.number]
        coming.update(message, file)
        if message.is_over:
            del self._states[message.number]
            ended = [key for key, one in self._coming.items() if one is coming]
            for key in ended:
                del self._coming[key]
