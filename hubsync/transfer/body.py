"""Copying the body of one answer into an ingest."""

import asyncio
from collections.abc import Callable

import aiohttp

from hubsync.model.spans import Span
from hubsync.ports.blobs import Ingest
from hubsync.transfer.direct import Direct, can_take_over, come_already
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.http import Reply
from hubsync.transfer.landing import Landing
from hubsync.transfer.run import Run
from hubsync.transfer.trickle import RateWatch

# To copy so much into the kernel takes less time than to ask a thread to do it.
INLINE_BYTES = 256 * 1024
LOOK_S = 1.0  # at a connection that may have gone silent


class LongBodyError(Exception):
    """More bytes came than the file, or the part of it, has."""


async def copy_body(
    run: Run, reply: Reply, ingest: Ingest, span: Span, advanced: Callable[[int], None]
) -> None:
    """Copy the body of *reply*, whose headers were found good, into *span*.

    What has arrived is kept, however it ends.

    Raises:
        RetryLaterError: the connection broke, or is of no use.
        LongBodyError: it goes on behind the end of the span.
    """
    start, stop = span
    landing = Landing(run, ingest, start, advanced)
    size = stop - start
    is_small = size <= min(INLINE_BYTES, run.options.block_bytes)
    # With a limit there is nothing to gain, and a connection that has to wait.
    is_direct = not (is_small or run.limiter.is_limiting)
    if is_direct and can_take_over(reply.response, size, run.buffers.block_bytes):
        await DirectBody(run, reply, landing).copy(size)
    else:
        inline = ingest.want.size_bytes <= INLINE_BYTES
        await GatheredBody(run, reply, landing, inline=inline).copy(stop)


class DirectBody:
    """A body of known length: from the socket into buffers, and into the file."""

    def __init__(self, run: Run, reply: Reply, landing: Landing) -> None:
        self._run, self._reply, self._landing = run, reply, landing
        self._clock = asyncio.get_running_loop().time
        self._writing: asyncio.Task[None] | None = None  # the block before
        # Decrypting keeps the loop busy: there, threads write.
        self._is_plain = reply.response.url.scheme == "http"

    async def copy(self, size: int) -> None:
        """As `copy_body`: *size* bytes."""
        first = self._come_already()
        at = self._landing.claim(sum(map(len, first)))
        if left := size - (self._landing.at - at):
            # Not an await in between: what comes must not come to aiohttp.
            await self._receive(left, first, at)
        else:
            await self._write_first(first, at)

    async def _receive(self, left: int, first: list[bytes], at: int) -> None:
        buffer = self._run.buffers.take()
        direct = Direct(self._reply.response, left, buffer, self._consume)
        direct.start()
        ticks = asyncio.create_task(self._tick(direct))
        try:
            await self._write_first(first, at)
            while (block := await direct.wait()) is not None:
                await self._written()
                direct.go_on(self._write_aside(block))
            await self._written()
            self._run.buffers.give(direct.stop())
        except OSError as error:
            raise _broken(self._reply, error) from error
        finally:
            ticks.cancel()
            rest = direct.stop()
            await self._written()
            if rest and not self._landing.has_failed:
                self._write_aside(rest)
                await self._written()

    async def _write_first(self, blocks: list[bytes], at: int) -> None:
        await self._landing.write(blocks, at)

    def _consume(self, block: memoryview) -> memoryview | None:
        """Write *block* at once while that takes no time, or have it written."""
        run = self._run
        if self._landing.has_failed:
            return None  # why, `_written` or `_write_first` says
        if self._is_plain and run.pace.may_write(self._clock()):
            self._landing.write_now(block)
            return memoryview(block.obj)
        if self._writing is not None and not self._writing.done():
            return None
        if self._writing is not None:
            self._writing.result()
        return self._write_aside(block)

    def _write_aside(self, block: memoryview) -> memoryview:
        """Have *block* written; the buffer to go on with meanwhile."""
        at = self._landing.claim(len(block))
        self._writing = asyncio.create_task(self._write(block, at))
        return self._run.buffers.take()

    async def _write(self, block: memoryview, at: int) -> None:
        await self._landing.write([block], at)
        self._run.buffers.give(block)

    async def _written(self) -> None:
        """Wait for the block before; one writes at a time."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _tick(self, direct: Direct) -> None:
        """See to it now and then that bytes come, and are not kept waiting."""
        options, watch = self._run.options, RateWatch(self._run.options)
        seen = self._landing.at
        while True:
            await asyncio.sleep(min(LOOK_S, options.read_timeout_s / 4))
            silent_s = self._clock() - direct.byte_at
            if direct.is_waiting and silent_s >= options.read_timeout_s:
                direct.fail(TimeoutError(f"not a byte for {silent_s:.0f} s"))
            direct.flush()
            try:
                watch.saw(self._landing.at - seen)
            except RetryLaterError as error:
                direct.fail(error)
            seen = self._landing.at

    def _come_already(self) -> list[bytes]:
        try:
            return come_already(self._reply.response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _broken(self._reply, error) from error


class GatheredBody:
    """A small body, or one whose length is not told: by way of aiohttp.

    Bytes are gathered into blocks; one block is written while the next arrives.
    """

    def __init__(
        self, run: Run, reply: Reply, landing: Landing, *, inline: bool
    ) -> None:
        self._run, self._reply, self._landing = run, reply, landing
        self._inline = inline
        self._blocks: list[bytes] = []
        self._gathered = 0
        self._writing: asyncio.Task[None] | None = None

    async def copy(self, stop: int) -> None:
        """As `copy_body`: up to *stop*, and not a byte more."""
        options, watch = self._run.options, RateWatch(self._run.options)
        try:
            while block := await self._read():
                if self._landing.at + self._gathered + len(block) > stop:
                    raise LongBodyError("more bytes than that")
                watch.saw(len(block), await self._run.limiter.take(len(block)))
                self._blocks.append(block)
                self._gathered += len(block)
                if self._gathered >= options.block_bytes:
                    await self._flush()
        finally:
            await self._written()
            if self._blocks and not self._landing.has_failed:
                await self._write(*self._gather())

    async def _flush(self) -> None:
        """Write what is gathered, once the block before it is written."""
        await self._written()
        self._writing = asyncio.create_task(self._write(*self._gather()))

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    def _gather(self) -> tuple[list[bytes], int]:
        blocks, at = self._blocks, self._landing.claim(self._gathered)
        self._blocks, self._gathered = [], 0
        return blocks, at

    async def _write(self, blocks: list[bytes], at: int) -> None:
        if self._inline:
            self._landing.write_all_now(blocks, at)
        else:
            await self._landing.write(blocks, at)

    async def _read(self) -> bytes:
        """What has arrived next, as it came; empty at the end of the body."""
        content = self._reply.response.content
        try:
            block, more = await content.readchunk()
            while more and not block:  # the end of one chunk of a chunked body
                block, more = await content.readchunk()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _broken(self._reply, error) from error
        return block


def _broken(reply: Reply, error: Exception) -> RetryLaterError:
    return RetryLaterError(
        f"the connection to {reply.host} broke: {str(error) or type(error).__name__}"
    )
