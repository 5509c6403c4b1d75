"""A body by way of aiohttp: a small one, or one whose length is not told."""

import asyncio

import aiohttp

from hubsync.transfer.errors import LongBodyError, broken
from hubsync.transfer.http import Reply
from hubsync.transfer.landing import Landing
from hubsync.transfer.run import Run
from hubsync.transfer.trickle import RateWatch


class GatheredBody:
    """Gathers bytes into blocks; one block is written while the next arrives."""

    def __init__(
        self, run: Run, reply: Reply, landing: Landing, *, inline: bool
    ) -> None:
        self._run, self._reply, self._landing = run, reply, landing
        self._inline = inline
        self._enough = 1  # the first bytes, somebody may wait for
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
                if self._gathered >= self._enough and not self._inline:
                    await self._flush()
                    self._enough = options.block_bytes
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
            raise broken(self._reply.host, error) from error
        return block
