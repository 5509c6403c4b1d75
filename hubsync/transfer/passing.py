"""Passing a file's bytes on without keeping them."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from hubsync.model.blob_hash import BlobHash
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
    check = BlobHash(fetch.want) if span == (0, fetch.size_bytes) else None
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
                raise _given_up(fetch, error) from error
            asked_s = error.wait_s if isinstance(error, RetryLaterError) else None
            wait_s = asked_s or BACKOFF_S * 2**failures
            await asyncio.sleep(min(wait_s, options.read_timeout_s))
    if check is not None:
        if (other := check.other()) is not None:
            raise BlobCorruptError(fetch.want, other, check.at)
        yield held_back


def _given_up(fetch: Fetch, error: Exception) -> UnavailableError:
    answered = error.answered if isinstance(error, RetryLaterError) else True
    return UnavailableError(f"cannot fetch {fetch.path}: {error}", answered=answered)


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
