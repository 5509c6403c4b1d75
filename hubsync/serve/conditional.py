"""JSON that a client has already: 304 in place of the body.

The Hub's own ETag of it (the web framework's there): weak, the body's length in
hex and 27 characters of its SHA-1 in base64.
"""

import base64
import hashlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from hubsync.wire.ranges import matches_any

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OK = 200


@web.middleware
async def conditional(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put an ETag on answers that are JSON, and ask nobody to read one twice."""
    response = await handler(request)
    if (
        not isinstance(response, web.Response)
        or response.status != _OK
        or response.prepared
        or response.content_type != "application/json"
        or request.method not in ("GET", "HEAD")
        or not isinstance(response.body, bytes)
    ):
        return response
    tag = tag_of(response.body)
    response.headers.setdefault("ETag", f'W/"{tag}"')
    if not matches_any(request.headers.get("If-None-Match"), tag):
        return response
    kept = {
        key: value
        for key, value in response.headers.items()
        if key.lower() not in ("content-type", "content-length")
    }
    return web.Response(status=304, headers=kept)


def tag_of(body: bytes) -> str:
    digest = hashlib.sha1(body, usedforsecurity=False).digest()
    return f"{len(body):x}-{base64.b64encode(digest).decode()[:27]}"
