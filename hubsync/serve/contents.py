"""The routes to a file: ``/resolve/`` and ``/raw/``."""

from aiohttp import web

from hubsync.model.snapshot import HeldEntry
from hubsync.serve.errors import damaged, no_entry, not_held
from hubsync.serve.files import FileSender, choose
from hubsync.serve.found import Found
from hubsync.serve.hot import Hot
from hubsync.serve.library import Library
from hubsync.serve.missing import Missing
from hubsync.serve.xet import Xet, info, wants_info
from hubsync.wire.lfs import emit_pointer


class Contents:
    """Finds the entry that is asked for, and has its bytes sent."""

    def __init__(
        self,
        library: Library,
        sender: FileSender,
        xet: Xet,
        missing: Missing | None = None,
        hot: Hot | None = None,
    ) -> None:
        self._library, self._sender, self._xet = library, sender, xet
        self._missing, self._hot = missing, hot

    async def resolve(self, request: web.Request, found: Found) -> web.StreamResponse:
        one = await self._entry(found)
        etag = one.entry.lfs.hex if one.entry.lfs else one.entry.git_oid.hex
        linked = {
            "X-Linked-Size": str(one.entry.size_bytes),
            "X-Linked-Etag": f'"{etag}"',
        }
        headers = {**found.commit_header, **linked}
        if links := self._xet.links(request, found, one):
            headers |= links
            if wants_info(request):
                return info(etag, one.entry.size_bytes, headers)
        elif self._hot and not found.headers:
            self._hot.remember(request, found, one, etag, headers)
        return await self._send(request, found, one, etag, headers)

    async def raw(self, request: web.Request, found: Found) -> web.StreamResponse:
        """What git holds: the pointer for an LFS file."""
        one = await self._entry(found)
        etag = one.entry.git_oid.hex
        if one.entry.lfs is None:
            return await self._send(request, found, one, etag, found.commit_header)
        headers = {**found.commit_header, "Content-Type": "text/plain; charset=utf-8"}
        body = emit_pointer(one.entry.lfs, one.entry.size_bytes)
        # The JavaScript client reads pointers by ranges too.
        chosen = choose(request, one.entry.path, len(body), etag, headers)
        if isinstance(chosen, web.Response):
            return chosen
        status, part, headers = chosen
        shown = body[part.start : part.stop]
        # aiohttp leaves it away from a HEAD of nothing, and a pointer may be empty.
        headers["Content-Length"] = str(len(shown))
        return web.Response(status=status, body=shown, headers=headers)

    async def _send(
        self,
        request: web.Request,
        found: Found,
        one: HeldEntry,
        etag: str,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        if one.held:
            return await self._sender.send(request, found, one, etag, headers)
        if self._missing and self._missing.can_fetch(found.row):
            return await self._missing.send(request, found, one, etag, headers)
        if one.damaged:
            raise damaged(found.row.repo, one.entry.path)
        raise not_held(one.entry.path, found.commit)

    async def _entry(self, found: Found) -> HeldEntry:
        path = found.route.path
        one = await self._library.find_entry(found.snapshot, path)
        if one is None:
            raise no_entry(path, found.revision, found.commit, file=True)
        return one
