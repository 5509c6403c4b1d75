"""Passing a file's bytes on without keeping them."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator

import aiohttp

from hubsync.model.digest import Descriptor
from hubsync.model.spans import Span
from hubsync.ports.blobs import BlobCorruptError
from hubsync.ports.hub import UnavailableError
from hubsync.transfer.errors import (
    ContradictionError,
    RetryLaterError,
    StartOverError,
    broken,
)
from hubsync.transfer.fetch import Fetch
from hubsync.transfer.http import Courier
from hubsync.transfer.options import TransferOptions
from hubsync.transfer.replies import check_part

BLOCK_BYTES = 256 * 1024
BACKOFF_S = 0.5


async def pass_on(
    courier: Courier, fetch: Fetch, span: Span, options: TransferOptions
) -> AsyncGenerator[bytes, None]:
    """The bytes of *span*, as the hub sends them.

    Of a whole file the last block comes only when all of it was what it should
    be.  A part of one cannot be compared with anything: it is the hub's word.

    Raises:
        HubError: the hub says no, or nothing for too long.
        BlobCorruptError: the whole file was not what it should be.
    """
    start, stop = span
    check = _Check(fetch.want) if span == (0, fetch.size_bytes) else None
    at, failures, held_back = start, 0, b""
    while at < stop:
        try:
            async for block in _ask(courier, fetch, (at, stop)):
                failures, at = 0, at + len(block)
                if check is None:
                    yield block
                    continue
                check.update(block)
                if held_back:
                    yield held_back
                held_back = block
        except (RetryLaterError, ContradictionError, StartOverError) as error:
            failures += 1
            if failures > options.retries_max:
                raise UnavailableError(f"cannot fetch {fetch.path}: {error}") from error
            wait_s = getattr(error, "wait_s", None) or BACKOFF_S * 2**failures
            await asyncio.sleep(min(wait_s, options.read_timeout_s))
    if check is not None:
        check.finish()
        yield held_back


async def _ask(
    courier: Courier, fetch: Fetch, span: Span
) -> AsyncGenerator[bytes, None]:
    """The body of one answer, cut to *span*."""
    start, stop = span
    whole = span == (0, fetch.size_bytes)
    headers = {} if whole else {"Range": f"bytes={start}-{stop - 1}"}
    reply = await courier.get(fetch.source, headers)
    async with reply.response as response:
        name = f"{fetch.path} of {fetch.repo}"
        found = check_part(reply, name, span, fetch.want, None)
        skip, left = (start if found.whole else 0), stop - start
        try:
            async for block in response.content.iter_chunked(BLOCK_BYTES):
                here = block[skip : skip + left]
                skip = max(skip - len(block), 0)
                left -= len(here)
                if here:
                    yield here
                if not left:
                    return
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise broken(reply.host, error) from error
    raise RetryLaterError(f"{reply.host} stopped {left} bytes before the end")


class _Check:
    """Compares what has passed with the name of the file."""

    def __init__(self, want: Descriptor) -> None:
        self._want, self._size_bytes = want, 0
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(b"blob %d\0" % want.size_bytes, usedforsecurity=False)

    def update(self, block: bytes) -> None:
        self._size_bytes += len(block)
        if self._want.digest:
            self._sha256.update(block)
        else:
            self._sha1.update(block)

    def finish(self) -> None:
        """Raises: BlobCorruptError: it was something else."""
        want = self._want
        if want.digest:
            got, name = (
                f"sha256:{self._sha256.hexdigest()}",
                f"sha256:{want.digest.hex}",
            )
        else:
            assert want.git_oid
            got, name = f"git:{self._sha1.hexdigest()}", f"git:{want.git_oid.hex}"
        if got != name:
            raise BlobCorruptError(want, got, self._size_bytes)
