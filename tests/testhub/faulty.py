"""Faults that replace the answer."""

import re

from aiohttp import web

from tests.testhub.faults import Fault
from tests.testhub.state import Pace

_HOP = re.compile(r"[?&]hop=(\d+)")


async def before_answer(  # noqa: PLR0911 - each fault is one line here
    request: web.BaseRequest, fault: Fault | None, pace: Pace
) -> web.StreamResponse | None:
    """The answer that *fault* puts in place of the real one, if it does."""
    if fault is None:
        return None
    if fault.kind == "status":
        return web.Response(status=fault.status, headers=fault.headers, text=fault.body)
    if fault.kind == "html":
        return web.Response(
            text="<html><body>Please log in to the network</body></html>",
            content_type="text/html",
        )
    if fault.kind == "redirect":
        status = fault.status if 300 <= fault.status < 400 else 302
        location = {"Location": fault.location} if fault.location else {}
        return web.Response(status=status, headers={**fault.headers, **location})
    if fault.kind == "hops":
        return _next_hop(request.raw_path, fault.at)
    if fault.kind == "silence":
        await pace.released.wait()
    if fault.kind in ("reset", "silence"):
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    return None


def _next_hop(raw_path: str, hops: int) -> web.Response | None:
    seen = _HOP.search(raw_path)
    number = int(seen[1]) if seen else 0
    if number >= hops:
        return None
    path = _HOP.sub("", raw_path)
    location = f"{path}{'&' if '?' in path else '?'}hop={number + 1}"
    return web.Response(status=307, headers={"Location": location})
