"""Faults that replace the answer."""

from aiohttp import web

from tests.testhub.faults import Fault


async def before_answer(
    request: web.BaseRequest, fault: Fault | None
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
        return web.Response(status=302, headers={"Location": fault.location})
    if fault.kind == "reset":
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    return None
