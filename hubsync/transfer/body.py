"""Copying the body of one answer into an ingest."""

import asyncio
from collections.abc import Callable

import aiohttp

from hubsync.model.spans import Span
from hubsync.ports.blobs import Ingest
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.http import Reply
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.run import Run

# To copy so much into the kernel takes less time than to ask a thread to do it.
INLINE_BYTES = 256 * 1024


class LongBodyError(Exception):
    """More bytes came than the file, or the part of it, has."""


class Body:
    """One answer whose headers were found good.

    Bytes are gathered into blocks; one block is written while the next arrives.
    """

    def __init__(
        self,
        run: Run,
        reply: Reply,
        ingest: Ingest,
        span: Span,
        advanced: Callable[[int], None],
    ) -> None:
        self._run, self._reply, self._ingest = run, reply, ingest
        self._at, self._stop = span
        self._advanced = advanced
        self._blocks: list[bytes] = []
        self._gathered = 0
        self._writing: asyncio.Future[None] | None = None

    async def copy(self) -> None:
        """Copy up to the end; what has arrived is kept, however it ends.

        Raises:
            RetryLaterError: the connection broke, or is of no use.
            LongBodyError: it goes on behind the end of the span.
        """
        options, watch = self._run.options, _Watch(self._run.options)
        try:
            while block := await self._receive():
                if self._at + self._gathered + len(block) > self._stop:
                    raise LongBodyError("more bytes than that")
                watch.saw(len(block), await self._run.limiter.take(len(block)))
                self._blocks.append(block)
                self._gathered += len(block)
                if self._gathered >= options.block_bytes:
                    await self._flush()
        finally:
            writing, self._writing = self._writing, None
            if writing is not None:
                await writing
            if self._blocks:
                await self._write(*self._gather())

    async def _flush(self) -> None:
        """Write what is gathered, once the block before it is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
        self._writing = asyncio.ensure_future(self._write(*self._gather()))

    def _gather(self) -> tuple[list[bytes], int, int]:
        blocks, at, size = self._blocks, self._at, self._gathered
        self._blocks, self._gathered, self._at = [], 0, at + size
        self._run.bytes_fetched += size
        self._run.byte_at = asyncio.get_running_loop().time()
        return blocks, at, size

    async def _write(self, blocks: list[bytes], at: int, size: int) -> None:
        if self._ingest.want.size_bytes <= INLINE_BYTES:
            self._ingest.write(blocks, at)
        else:
            await self._run.disk(lambda: self._ingest.write(blocks, at))
        self._advanced(size)

    async def _receive(self) -> bytes:
        """What has arrived next, as it came; empty at the end of the body."""
        content = self._reply.response.content
        try:
            block, more = await content.readchunk()
            while more and not block:  # the end of one chunk of a chunked body
                block, more = await content.readchunk()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RetryLaterError(
                f"the connection to {self._reply.host} broke: "
                f"{str(error) or type(error).__name__}"
            ) from error
        return block


class _Watch:
    """Notices a body that trickles: each byte in time, the whole never."""

    def __init__(self, options: TransferOptions) -> None:
        self._clock = asyncio.get_running_loop().time
        self._window_s = options.rate_window_s
        self._least = options.rate_min_bytes_per_s * options.rate_window_s
        self._ends, self._bytes = self._clock() + self._window_s, 0

    def saw(self, size_bytes: int, held_back_s: float) -> None:
        self._bytes += size_bytes
        self._ends += held_back_s  # by us: the connection is not to blame
        if self._clock() < self._ends:
            return
        if self._bytes < self._least:
            raise RetryLaterError("the connection is too slow to be of use")
        self._ends, self._bytes = self._clock() + self._window_s, 0
