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

    def write_now(self, come: Block | Piped) -> None:
        """Write, while everybody waits; the disk should take it at once."""
        began = self._clock()
        self._put(come, self.claim(len(come)))
        self._run.pace.wrote(began, self._clock())
        self._advanced(len(come))

    def write_all_now(self, blocks: Sequence[Block], at: int) -> None:
        """The same for *blocks* that belong *at*."""
        self._put(blocks, at)
        self._advanced(sum(map(len, blocks)))

    async def write(self, come: Sequence[Block] | Piped, at: int) -> None:
        """Write in a thread what has come and belongs *at*."""
        if len(come):
            await self._run.disk(lambda: self._put(come, at))
            blocks = [come] if isinstance(come, Piped) else come
            self._advanced(sum(map(len, blocks)))

    def _put(self, come: Block | Sequence[Block] | Piped, at: int) -> None:
        try:
            if isinstance(come, Piped):
                self._drain(come, at)
            else:
                self._ingest.write(come, at)
        except BaseException:
            self.has_failed = True
            raise

    def _drain(self, piped: Piped, at: int) -> None:
        try:
            self._ingest.write_from(piped.pipe.out, len(piped), at)
        except BaseException:
            piped.pipe.close()  # nobody knows what is left in it
            raise
        self._run.pipes.give(piped.pipe)
