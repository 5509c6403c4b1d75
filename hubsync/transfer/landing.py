"""Where the bytes of one answer go: into an ingest, block by block."""

import asyncio
from collections.abc import Callable, Sequence

from hubsync.ports.blobs import Block, Ingest
from hubsync.transfer.pipes import Piped
from hubsync.transfer.run import Run


class Landing:
    """Writes what comes one after another, from *at* on, and counts it."""

    def __init__(
        self, run: Run, ingest: Ingest, at: int, advanced: Callable[[int], None]
    ) -> None:
        self._run, self._ingest, self._at = run, ingest, at
        self._advanced = advanced
        self.has_failed = False  # to write: what else comes has no place
        self._clock = asyncio.get_running_loop().time

    @property
    def at(self) -> int:
        """Where the next block belongs."""
        return self._at

    def claim(self, size_bytes: int) -> int:
        """So many bytes have come; where they belong."""
        at, self._at = self._at, self._at + size_bytes
        self._run.bytes_fetched += size_bytes
        self._run.byte_at = self._clock()
        return at

    def write_now(self, block: Block) -> None:
        """Write, while everybody waits; the disk should take it at once."""
        began = self._clock()
        self._put([block], self.claim(len(block)))
        self._run.pace.wrote(began, self._clock())
        self._advanced(len(block))

    def write_all_now(self, blocks: Sequence[Block], at: int) -> None:
        """The same for *blocks* that belong *at*."""
        self._put(blocks, at)
        self._advanced(sum(map(len, blocks)))

    def move_now(self, piped: Piped) -> None:
        """As `write_now`, of what is in a pipe."""
        began = self._clock()
        self._drain(piped, self.claim(len(piped)))
        self._run.pace.wrote(began, self._clock())
        self._advanced(len(piped))

    async def move(self, piped: Piped, at: int) -> None:
        """As `write`, of what is in a pipe and belongs *at*."""
        await self._run.disk(lambda: self._drain(piped, at))
        self._advanced(len(piped))

    async def write(self, blocks: Sequence[Block], at: int) -> None:
        """Write in a thread *blocks* that belong *at*."""
        if blocks:
            await self._run.disk(lambda: self._put(blocks, at))
            self._advanced(sum(map(len, blocks)))

    def _put(self, blocks: Sequence[Block], at: int) -> None:
        try:
            self._ingest.write(blocks, at)
        except BaseException:
            self.has_failed = True
            raise

    def _drain(self, piped: Piped, at: int) -> None:
        try:
            self._ingest.write_from(piped.pipe.out, len(piped), at)
        except BaseException:
            self.has_failed = True
            piped.pipe.close()  # nobody knows what is left in it
            raise
        self._run.pipes.give(piped.pipe)
