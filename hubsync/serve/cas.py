"""Xet's store, as `hubsync.wire.xet` makes it up from the blobs we hold.

Nothing is asked by digest alone: the token names a repo and a commit, and only
what that commit has can be found.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import NoReturn

from aiohttp import web

from hubsync.model.snapshot import HeldEntry
from hubsync.serve.access import Access
from hubsync.serve.errors import Problem, no_route
from hubsync.serve.events import Event
from hubsync.serve.files import FileSender, choose_part
from hubsync.serve.grants import Grant, signer_of
from hubsync.serve.library import Library
from hubsync.serve.more import Family
from hubsync.serve.options import ServeOptions
from hubsync.serve.pump import FileTruncatedError
from hubsync.serve.query import json_response, own_url, params_of, value
from hubsync.serve.visit import pieces_of
from hubsync.serve.xet import CAS
from hubsync.wire.ranges import ByteRange
from hubsync.wire.xet import Xorb, emit_reconstruction, xorb_of

log = logging.getLogger("hubsync.serve")

TELEMETRY = "/v1/telemetry"  # clients send it to the root of whatever host it is
_INFO = re.compile(f"/{CAS}/v([12])/reconstructions/([0-9a-f]{{64}})")
_XORB = re.compile(f"/{CAS}/xorbs/([0-9a-f]{{64}})/([0-9]{{1,12}})")
_NO_COMPRESSION = {"Content-Type": "application/octet-stream"}


class Cas:
    """The routes below ``/_xet/``."""

    def __init__(
        self,
        library: Library,
        sender: FileSender,
        options: ServeOptions,
        access: Access,
    ) -> None:
        self._library, self._sender, self._options = library, sender, options
        self._access = access
        self._signer = signer_of(options)

    @property
    def families(self) -> Mapping[str, Family]:
        return {CAS: self.answer, TELEMETRY: _nothing} if self._is_on else {}

    @property
    def _is_on(self) -> bool:
        return self._options.xet != "off"

    async def answer(self, request: web.Request, raw_path: str) -> web.StreamResponse:
        """Answer a route of the store; of those that clients only try, with 404.

        Raises:
            Problem: 401 and 403 without a grant for it, 404, 416.
        """
        if request.method not in ("GET", "HEAD"):
            raise no_route()
        if found := _INFO.fullmatch(raw_path):
            return await self._reconstruction(request, int(found[1]), found[2])
        if found := _XORB.fullmatch(raw_path):
            return await self._xorb(request, found[1], int(found[2]))
        raise no_route()

    async def _reconstruction(
        self, request: web.Request, version: int, file: str
    ) -> web.StreamResponse:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        grant = self._signer.read(text.strip()) if kind.lower() == "bearer" else None
        if grant is None:
            raise _unauthorized()
        if grant.file is not None:  # for xorbs alone: else it would renew itself
            raise _forbidden()
        one = await self._file(request, grant, file)
        size = one.entry.size_bytes
        headers: dict[str, str] = {}
        status, part = choose_part(request, size, file, headers)
        if part is None:
            return web.Response(status=status, headers=headers)
        mine = self._signer.sign(
            self._signer.grant(grant.repo, grant.commit, file, grant.holder)
        )
        base = f"{own_url(request, self._options)}/{CAS}/xorbs/{file}"
        assert one.digest
        body = emit_reconstruction(
            part,
            size,
            one.digest.hex,
            lambda index: f"{base}/{index}?grant={mine}",
            version=version,
        )
        return json_response(body, {"Cache-Control": "no-store"})

    async def _xorb(
        self, request: web.Request, file: str, index: int
    ) -> web.StreamResponse:
        # In the address, because clients send no header to it.
        grant = self._signer.read(value(params_of(request), "grant") or "")
        if grant is None:
            raise _forbidden()
        one = await self._file(request, grant, file)
        xorb = xorb_of(one.entry.size_bytes, index)
        if xorb is None:
            raise _unknown()
        with self._sender.open(one, grant.repo) as blob:
            headers = dict(_NO_COMPRESSION)
            status, part = choose_part(request, xorb.framed_bytes, file, headers)
            if part is None:
                return web.Response(status=status, headers=headers)
            response = web.StreamResponse(status=status, headers=headers)
            response.content_length = part.size_bytes
            await response.prepare(request)
            if request.method == "GET":
                read = partial(read_framed, blob.fileno(), xorb)
                sending = self._send(request, response, read, part)
                await self._sender.sent(request, one, sending)
            return response

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        read: Callable[[int, int], bytes | bytearray],
        part: ByteRange,
    ) -> None:
        async with aclosing(pieces_of(request, part)) as pieces:
            async for piece in pieces:
                await self._sender.mover.copy(request, response, read, piece)

    async def _file(self, request: web.Request, grant: Grant, file: str) -> HeldEntry:
        """The held file of the grant's commit that *file* names.

        Raises:
            Problem: there is none, or it is not this grant's.
        """
        if not grant.allows(file):
            raise _forbidden()
        if not await self._access.holds(request, grant.holder, grant.repo):
            raise _forbidden()
        found = await self._library.ask(self._find, grant, file)
        if len({one.entry.lfs for one in found}) > 1:
            # An upstream that says so cannot be believed in either.
            log.error(Event("one xet hash for several contents", hash=file))
            raise _unknown()
        for one in found:
            if one.held:
                return one
        raise _unknown()

    def _find(self, grant: Grant, file: str) -> list[HeldEntry]:
        catalog = self._library.catalog
        row = catalog.find_repo(grant.repo)
        snapshot = catalog.resolve(row, grant.commit) if row else None
        if snapshot is None or snapshot.commit.oid != grant.commit:
            return []
        return catalog.having(snapshot, file)


def read_framed(file: int, xorb: Xorb, length: int, offset: int) -> bytearray:
    """Bytes of a xorb, read from the file that it is a part of; blocks.

    Raises:
        FileTruncatedError: the file has ended.
    """
    window = xorb.window(ByteRange(offset, offset + length))
    block = bytearray(length)
    for place, header in window.headers:
        block[place : place + len(header)] = header
    at = window.file_offset
    with memoryview(block) as view:
        for place, size in window.data:
            done = 0
            while done < size:
                got = os.preadv(file, [view[place + done : place + size]], at + done)
                if got == 0:
                    raise FileTruncatedError(f"no byte at {at + done}")
                done += got
            at += size
    return block


async def _nothing(*_: object) -> NoReturn:
    raise no_route()


def _unknown() -> Problem:
    return Problem(404, "This mirror holds no such file")


def _unauthorized() -> Problem:
    challenge = {"WWW-Authenticate": "Bearer"}
    return Problem(401, "The token has expired or is not ours", more=challenge)


def _forbidden() -> Problem:
    return Problem(403, "This address has expired or is not ours")
