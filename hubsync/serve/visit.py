"""One request, and what is known of whoever sent it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from aiohttp import web

from hubsync.serve.allowance import Allowance
from hubsync.serve.readers import Reader, TokenReader
from hubsync.wire.ranges import ByteRange


@dataclass(slots=True)
class Visit:
    """There is one where somebody is asked, or written down."""

    raw_path: str
    repo: str | None = None
    reader: Reader | None = None
    allowance: Allowance | None = None
    is_written_down: bool = False
    elsewhere_bytes: int = 0  # of the body, which a proxy sends in our place


_KEY = web.RequestKey("visit", Visit)


def begin(request: web.Request, raw_path: str) -> Visit:
    visit = Visit(raw_path)
    request[_KEY] = visit
    return visit


def visit_of(request: web.Request) -> Visit | None:
    visit = request.get(_KEY)
    assert visit is None or isinstance(visit, Visit)
    return visit


def holder_of(request: web.Request) -> int | None:
    """The number of the token of ours that was shown."""
    visit = visit_of(request)
    reader = visit.reader if visit else None
    return reader.row.id if isinstance(reader, TokenReader) else None


def is_paced(request: web.Request) -> bool:
    """Whether whoever asks may have only so many bytes a second."""
    visit = visit_of(request)
    return bool(visit and visit.allowance and visit.allowance.has_rate)


def sent_elsewhere(request: web.Request, size_bytes: int) -> None:
    """A proxy sends so much of the body in our place."""
    if visit := visit_of(request):
        visit.elsewhere_bytes = size_bytes


async def paced(request: web.Request, size_bytes: int) -> None:
    """Wait until whoever asks may have so much more."""
    visit = visit_of(request)
    if visit and visit.allowance:
        await visit.allowance.sent(size_bytes)


async def pieces_of(
    request: web.Request, part: ByteRange
) -> AsyncGenerator[ByteRange, None]:
    """*part* of a body in pieces, each when whoever asks may have it."""
    visit = visit_of(request)
    if visit is None or visit.allowance is None:
        yield part
        return
    async with aclosing(visit.allowance.pieces(part)) as pieces:
        async for piece in pieces:
            yield piece
