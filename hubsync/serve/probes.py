"""What operators and their tools ask: ``/readyz`` and ``/metrics``."""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import web

from hubsync.model.errors import HubsyncError
from hubsync.serve.errors import forbidden_write
from hubsync.serve.folder import BlobFolder
from hubsync.serve.library import Library
from hubsync.serve.metrics import Metrics
from hubsync.serve.more import Family
from hubsync.serve.query import json_response

LOOK_S = 5.0  # a disk that does not answer for so long is not ready
HELD_FOR_S = 60.0  # sums over the catalog are kept


class Probes:
    """Whether we can answer, and what was answered."""

    def __init__(
        self, library: Library, folder: BlobFolder | None, metrics: Metrics
    ) -> None:
        self._library, self._folder, self._metrics = library, folder, metrics
        self.is_draining = False
        self._sums: Mapping[str, float] = {}
        self._sums_until = 0.0
        self._counting = asyncio.Lock()

    @property
    def families(self) -> Mapping[str, Family]:
        return {"/readyz": self.ready, "/metrics": self.metrics}

    async def ready(self, request: web.Request, raw_path: str) -> web.StreamResponse:
        """200: send us clients; 503: do not."""
        _require_read(request)
        reason = "draining" if self.is_draining else await self._what_is_wrong()
        if reason is None:
            return json_response({"status": "ready"})
        answer = json_response({"status": "not ready", "reason": reason})
        answer.set_status(503)
        return answer

    async def _what_is_wrong(self) -> str | None:
        try:
            await self._library.ask(self._library.catalog.ping)
        except HubsyncError:
            return "the catalog does not answer"
        if self._folder is None:
            return None
        try:
            async with asyncio.timeout(LOOK_S):
                return await asyncio.to_thread(self._folder.what_is_wrong)
        except TimeoutError:
            return "the store's disk does not answer"

    async def metrics(self, request: web.Request, raw_path: str) -> web.StreamResponse:
        """All numbers, of all processes, in Prometheus' text format."""
        _require_read(request)
        # Imported by whoever is asked first: most servers never are.
        from hubsync.serve.exposition import exposition  # noqa: PLC0415

        sums = await self._held()
        accept = request.headers.get("Accept", "")
        body, content_type = exposition(self._metrics, sums, accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _held(self) -> Mapping[str, float]:
        async with self._counting:
            if time.monotonic() >= self._sums_until:
                self._sums = await asyncio.to_thread(self._sum_up)
                self._sums_until = time.monotonic() + HELD_FOR_S
            return self._sums

    def _sum_up(self) -> Mapping[str, float]:
        totals = self._library.catalog.totals()
        found: dict[str, float] = {
            "repos": totals.repos,
            "blobs": totals.blobs,
            "bytes": totals.bytes,
        }
        if self._folder is not None:
            found["free_bytes"] = self._folder.free_bytes()
        return found


def _require_read(request: web.Request) -> None:
    if request.method not in ("GET", "HEAD"):
        raise forbidden_write()
