"""A body of known length, past aiohttp: as quick as the machine can."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import aiohttp

from hubsync.transfer.direct import Direct
from hubsync.transfer.errors import RetryLaterError, broken
from hubsync.transfer.http import Reply
from hubsync.transfer.landing import Landing
from hubsync.transfer.pipes import Piped
from hubsync.transfer.run import Run
from hubsync.transfer.spliced import Spliced
from hubsync.transfer.taken import Taken, come_already
from hubsync.transfer.trickle import RateWatch

LOOK_S = 1.0  # at a connection that may have gone silent


class ReceivedBody(ABC):
    """What the two ways have in common."""

    def __init__(self, run: Run, reply: Reply, landing: Landing) -> None:
        self._run, self._reply, self._landing = run, reply, landing
        self._clock = asyncio.get_running_loop().time

    async def copy(self, size: int) -> None:
        """As `copy_body`: *size* bytes."""
        first = self._come_already()
        at = self._landing.claim(sum(map(len, first)))
        if left := size - (self._landing.at - at):
            # Not an await in between: what comes must not come to aiohttp.
            await self._receive(left, first, at)
        else:
            await self._landing.write(first, at)

    @abstractmethod
    async def _receive(self, left: int, first: Sequence[bytes], at: int) -> None:
        """Write *first* where it belongs, and the bytes that are *left* behind it."""

    async def _watch(self, taken: Taken) -> None:
        """See to it now and then that bytes come."""
        options, watch = self._run.options, RateWatch(self._run.options)
        seen = self._landing.at
        while True:
            await asyncio.sleep(min(LOOK_S, options.read_timeout_s / 4))
            taken.flush()
            silent_s = self._clock() - taken.byte_at
            if taken.is_waiting and silent_s >= options.read_timeout_s:
                taken.fail(TimeoutError(f"not a byte for {silent_s:.0f} s"))
            try:
                watch.saw(self._landing.at - seen)
            except RetryLaterError as error:
                taken.fail(error)
            seen = self._landing.at

    def _come_already(self) -> list[bytes]:
        try:
            return come_already(self._reply.response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise broken(self._reply.host, error) from error


class SplicedBody(ReceivedBody):
    """From the socket through a pipe into the file, all of it in the kernel."""

    _held: tuple[Piped | memoryview, int] | None = None  # and where it belongs

    async def _receive(self, left: int, first: Sequence[bytes], at: int) -> None:
        run, buffer = self._run, self._run.buffers.take()
        spliced = self._begin(left, buffer)
        watching = asyncio.create_task(self._watch(spliced))
        try:
            await self._landing.write(first, at)
            while await spliced.wait():
                await self._write_held()
                spliced.go_on()
        except OSError as error:
            raise broken(self._reply.host, error) from error
        finally:
            watching.cancel()
            spliced.stop()
            await self._write_held()
            run.buffers.give(buffer)

    def _begin(self, left: int, buffer: memoryview) -> Spliced:
        response, pipes = self._reply.response, self._run.pipes
        try:
            spliced = Spliced(response, left, buffer, pipes, self._consume)
            try:
                spliced.start()
            except BaseException:
                spliced.stop()
                raise
        except OSError as error:  # too many open files
            raise broken(self._reply.host, error) from error
        return spliced

    def _consume(self, come: Piped | memoryview) -> bool:
        """Write what has come at once while that takes no time, or hold it."""
        if self._landing.has_failed:
            self._drop(come)
        elif not self._run.pace.may_write(self._clock()):
            self._held = come, self._landing.claim(len(come))
        else:
            self._landing.write_now(come)
            return True
        return False

    async def _write_held(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        come, at = held
        if self._landing.has_failed:
            self._drop(come)
        else:
            blocks = come if isinstance(come, Piped) else [come]
            await self._landing.write(blocks, at)

    def _drop(self, come: Piped | memoryview) -> None:
        if isinstance(come, Piped):
            come.pipe.close()


class DirectBody(ReceivedBody):
    """A body of known length: from the socket into buffers, and into the file."""

    def __init__(self, run: Run, reply: Reply, landing: Landing) -> None:
        super().__init__(run, reply, landing)
        self._writing: asyncio.Task[None] | None = None  # the block before

    async def _receive(self, left: int, first: Sequence[bytes], at: int) -> None:
        buffer = self._run.buffers.take()
        direct = Direct(self._reply.response, left, buffer, self._consume)
        direct.start()
        watching = asyncio.create_task(self._watch(direct))
        try:
            await self._landing.write(first, at)
            while (block := await direct.wait()) is not None:
                await self._written()
                direct.go_on(self._write_aside(block))
            await self._written()
            self._run.buffers.give(direct.stop())
        except OSError as error:
            raise broken(self._reply.host, error) from error
        finally:
            watching.cancel()
            rest = direct.stop()
            await self._written()
            if rest and not self._landing.has_failed:
                self._write_aside(rest)
                await self._written()

    def _consume(self, block: memoryview) -> memoryview | None:
        """Write *block* at once while that takes no time, or have it written."""
        run = self._run
        if self._landing.has_failed:
            return None  # why, whoever wrote it says
        if run.pace.may_write(self._clock()):
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
