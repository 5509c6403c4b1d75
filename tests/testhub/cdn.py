"""The second port: signed URLs that expire, no credentials, an ETag of its own."""

import asyncio
import hashlib
import hmac
import itertools
import time
from urllib.parse import parse_qs, quote

from aiohttp import web

from tests.testhub.bodies import send_file
from tests.testhub.faulty import before_answer
from tests.testhub.lfs import sha256_of_xet, xet_hash_of
from tests.testhub.log import Seen
from tests.testhub.state import HubState

_KEY = b"a key that only the test hub has"


class Cdn:
    """Gives LFS objects to whoever has a signature that is still good."""

    def __init__(self, hub: HubState) -> None:
        self._hub = hub
        self._numbers = itertools.count()
        self._served: dict[str, list[Seen]] = {}  # by signed query

    def sign(self, hub_id: str, sha256: str, name: str) -> str:
        """An address with characters that break when a client encodes it anew."""
        path = f"/xet-bridge-us/{hub_id}/{xet_hash_of(sha256)}"
        expires = int(self._hub.world.clock.now() + self._hub.url_lifetime_s)
        shown = quote(f"inline; filename*=UTF-8''{quote(name)}; filename=\"{name}\";")
        user = f"public-{next(self._numbers)}"
        query = f"response-content-disposition={shown}&user_id={user}&Expires={expires}"
        signature = _signature(path, query)
        return (
            f"{self._hub.cdn_endpoint}{path}?{query}"
            f"&Policy=e30%7E%2F~_&Signature={signature}%7E&Key-Pair-Id=K2"
        )

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        seen = Seen("cdn", request.method, request.raw_path, dict(request.headers))
        self._hub.log.add(seen)
        for hook in self._hub.hooks:
            hook(seen)
        if "Authorization" in request.headers or "Cookie" in request.headers:
            seen.notes.append("credentials were sent to the CDN")
        if self._hub.pace.latency_s:
            await asyncio.sleep(self._hub.pace.latency_s)
        fault = self._hub.faults.take(
            "cdn", request.method, request.raw_path, request.headers
        )
        answer = await before_answer(request, fault, self._hub.pace)
        if answer is None and (seen.notes or (fault and fault.kind == "expire")):
            answer = _denied()
        if answer is None:
            answer = await self._answer(request, seen)
        seen.status, seen.ended = answer.status, time.monotonic()
        return answer

    async def _answer(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        if not self._is_good(path, query) or self._is_used_up(query, seen):
            return _denied()
        sha256 = sha256_of_xet(path.rpartition("/")[2])
        file = self._hub.world.lfs.find(sha256)
        if file is None:
            return _denied()
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": f'"{path.rpartition("/")[2]}"',
        }
        if self._hub.sets_cookies:
            headers["Set-Cookie"] = "cdn=1; Path=/"
        fault = self._hub.faults.take(
            "cdn", request.method, request.raw_path, request.headers, has_body=True
        )
        return await send_file(request, seen, file, headers, fault, self._hub.pace)

    def _is_used_up(self, query: str, seen: Seen) -> bool:
        """Whether this one address has answered as often or as much as it may."""
        served = self._served.setdefault(query, [])
        requests, sent = len(served), sum(one.sent for one in served)
        served.append(seen)
        requests_max, bytes_max = self._hub.url_requests_max, self._hub.url_bytes_max
        return (requests_max is not None and requests >= requests_max) or (
            bytes_max is not None and sent >= bytes_max
        )

    def _is_good(self, path: str, query: str) -> bool:
        """The query must be the very bytes that were signed."""
        signed, _, rest = query.partition("&Policy=")
        given = rest.removeprefix("e30%7E%2F~_&Signature=").partition("%7E&Key")[0]
        if not rest.startswith("e30%7E%2F~_&") or given != _signature(path, signed):
            return False
        expires = int(parse_qs(signed)["Expires"][0])
        return self._hub.world.clock.now() < expires


def _signature(path: str, query: str) -> str:
    return hmac.new(_KEY, f"{path}?{query}".encode(), hashlib.sha256).hexdigest()


def _denied() -> web.Response:
    return web.Response(
        status=403,
        text='<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        content_type="application/xml",
    )
