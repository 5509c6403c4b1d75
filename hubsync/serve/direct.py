"""A request's way to the one handler, without aiohttp's router.

There is one route; to find it anew for each request, and to build the middlewares
around it, costs 8 us: as much as all that we do for a HEAD.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from hubsync.serve.hot import Hot

Handle = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


def go_directly(app: web.Application, server: web.Server, hot: Hot | None) -> None:
    """Have *server* call the handler of *app*'s only route, inside its middlewares.

    Or that of *hot*, for what it has begun.  The application stays what it is:
    `web.Request.app` and the signals work.
    """
    (route,) = app.router.routes()
    handler = _inside(app, route.handler)
    finish = _inside(app, hot.finish) if hot else handler
    match = web.UrlMappingMatchInfo({}, route)
    match.add_app(app)
    match.freeze()
    by_router: Handle = server.request_handler

    async def handle(request: BaseRequest) -> web.StreamResponse:
        # The router answers 100 first, and knows what is no path: ``*``, an authority.
        if "Expect" in request.headers or not request.raw_path.startswith("/"):
            return await by_router(request)
        request._match_info = match  # type: ignore[attr-defined]  # noqa: SLF001 - as the application does
        has_begun = request.protocol.begun is not None  # type: ignore[attr-defined]
        return await (finish if has_begun else handler)(request)

    server.request_handler = handle


def _inside(app: web.Application, handler: Any) -> Handle:
    for middleware in reversed(app.middlewares):
        handler = partial(middleware, handler=handler)
    return handler  # type: ignore[no-any-return]
