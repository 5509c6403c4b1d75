"""Copying the body of one answer into an ingest."""

import asyncio
from collections.abc import Callable

import aiohttp

from hubsync.model.spans import Span
from hubsync.ports.blobs import Ingest
from hubsync.transfer.direct import Direct, can_take_over, come_already
from hubsync.transfer.errors import RetryLaterError
from hubsync.transfer.http import Reply
from hubsync.transfer.run import Run
from hubsync.transfer.trickle import RateWatch

# To copy so much into the kernel takes less time than to ask a thread to do it.
INLINE_BYTES = 256 * 1024
LOOK_S = 1.0  # at a connection that may have gone silent


class LongBodyError(Exception):
    """More bytes came than the file, or the part of it, has."""


class Body:
    """One answer whose headers were found good."""

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
        self._held_back_s = 0.0  # by our own limit, since the last look
        self._clock = asyncio.get_running_loop().time

    async def copy(self) -> None:
        """Copy up to the end; what has arrived is kept, however it ends.

        Raises:
            RetryLaterError: the connection broke, or is of no use.
            LongBodyError: it goes on behind the end of the span.
        """
        response, size = self._reply.response, self._stop - self._at
        if size > INLINE_BYTES and can_take_over(response, size):
            await self._copy_directly(size)
        else:
            await self._copy_as_it_comes()

    async def _copy_directly(self, size: int) -> None:
        """From the socket into one buffer, and from there into the file."""
        self._blocks = self._come_already()
        self._gathered = sum(map(len, self._blocks))
        size -= self._gathered
        first = self._gather()
        if not size:
            await self._write(*first)
            return
        buffer = self._run.buffers.take()
        direct = Direct(self._reply.response, size, buffer, self._consume)
        direct.start()
        ticks = asyncio.create_task(self._tick(direct))
        try:
            if first[-1]:
                self._held_back_s += await self._run.limiter.take(first[-1])
                await self._write(*first)
            while (block := await direct.wait()) is not None:
                self._held_back_s += await self._run.limiter.take(len(block))
                await self._write_aside(block)
                direct.go_on()
            self._run.buffers.give(buffer)
        except OSError as error:
            raise self._broken(error) from error
        finally:
            ticks.cancel()
            if rest := direct.stop():
                await self._write_aside(rest)

    def _consume(self, block: memoryview) -> bool:
        """Write *block* at once, while that takes no time."""
        run, began = self._run, self._clock()
        if run.limiter.is_limiting or not run.pace.may_write(began):
            return False
        self._ingest.write(block, self._at)
        run.pace.wrote(began, self._clock())
        self._wrote(len(block))
        return True

    async def _write_aside(self, block: memoryview) -> None:
        at = self._at
        await self._run.disk(lambda: self._ingest.write(block, at))
        self._wrote(len(block))

    def _wrote(self, size: int) -> None:
        self._at += size
        self._run.bytes_fetched += size
        self._run.byte_at = self._clock()
        self._advanced(size)

    async def _tick(self, direct: Direct) -> None:
        """See to it now and then that bytes come, and are not kept waiting."""
        options, watch, seen = self._run.options, RateWatch(self._run.options), self._at
        while True:
            await asyncio.sleep(min(LOOK_S, options.read_timeout_s / 4))
            silent_s = self._clock() - direct.byte_at
            if direct.is_waiting and silent_s >= options.read_timeout_s:
                direct.fail(TimeoutError(f"not a byte for {silent_s:.0f} s"))
            direct.flush()
            held_back_s, self._held_back_s = self._held_back_s, 0.0
            try:
                watch.saw(self._at - seen, held_back_s)
            except RetryLaterError as error:
                direct.fail(error)
            seen = self._at

    async def _copy_as_it_comes(self) -> None:
        """By way of aiohttp, which knows chunked bodies and those without length.

        Bytes are gathered into blocks; one block is written while the next arrives.
        """
        options, watch = self._run.options, RateWatch(self._run.options)
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
            raise self._broken(error) from error
        return block

    def _come_already(self) -> list[bytes]:
        try:
            return come_already(self._reply.response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> RetryLaterError:
        return RetryLaterError(
            f"the connection to {self._reply.host} broke: "
            f"{str(error) or type(error).__name__}"
        )
