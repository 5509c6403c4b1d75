"""Where requests come in and every error ends; and who stays too long."""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

from aiohttp import HttpVersion10, hdrs, web

from hubsync import __version__
from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.serve.errors import Problem, busy, unavailable
from hubsync.serve.events import Event
from hubsync.serve.proxies import CALLER
from hubsync.serve.shortage import Seldom, is_short

log = logging.getLogger("hubsync.serve")

EXPOSED_HEADERS = (
    "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,X-Total-Count,ETag,Link,"
    "Accept-Ranges,Content-Range,X-Linked-Size,X-Linked-ETag,X-Xet-Hash"
)
# What every answer has, whoever made it.
COMMON_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    "Server": f"hubsync/{__version__}",
    "X-Content-Type-Options": "nosniff",
}
CLIENT_CLOSED_REQUEST = 499  # nginx's number; nobody sees it but the log
_shortages = Seldom()
request_id: ContextVar[str] = ContextVar("request_id")  # aiohttp: a task a request
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BaseHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class RequestIds:
    """32 hex digits each, that no other process gives out.

    A UUID costs 2 us and a system call for what a number of our own does as well.
    """

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._process, self._numbers = os.urandom(8).hex(), itertools.count(1)

    def next(self) -> str:
        return f"{self._process}{next(self._numbers):016x}"


request_ids = RequestIds()


@web.middleware
async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Request id, and the one place where an unexpected error ends."""
    caller = request.get(CALLER)
    request_id.set((caller and caller.request_id) or request_ids.next())
    return await _answer(request, handler)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await (_refuse if is_doubtful(request) else handler)(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return Problem(error.status, error.reason).response()
    except ConnectionError:
        # There is nobody to answer any more: this goes nowhere, whoever closed the
        # connection.  Raised on, it would fill the log with tracebacks.
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=CLIENT_CLOSED_REQUEST)
    except Exception as error:  # noqa: BLE001 - logged by `_failed`
        return _failed(error).response()


def _failed(error: Exception) -> Problem:
    """What to say of an error that nobody expected."""
    if is_short(error):
        _shortages.warn("short of files or memory", reason=str(error))
        return busy()
    log.error(Event("request failed", request_id=request_id.get()), exc_info=error)
    if isinstance(error, HubsyncError) and error.exit_code is ExitCode.UNAVAILABLE:
        return unavailable()
    return Problem(500, f"Internal error, request {request_id.get()}")


async def _refuse(_: web.Request) -> web.Response:
    said = "Where this request ends cannot be told"
    return Problem(400, said, close=True).response()


def is_doubtful(request: web.Request) -> bool:
    """Whether a proxy before us may have seen the request end somewhere else.

    What aiohttp lets in: HTTP/0.9, and chunks in HTTP/1.0, which has none (RFC
    9112, 6.1).
    """
    old = request.version <= HttpVersion10
    chunked = hdrs.TRANSFER_ENCODING in request.headers
    return request.version < HttpVersion10 or (old and chunked)


def expecting(handler: BaseHandler) -> BaseHandler:
    """*handler* of a whole server, but for an ``Expect`` that nobody can meet.

    aiohttp looks at it before `edge`, and its refusal could not be sent.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get(hdrs.EXPECT, "100-continue").lower() != "100-continue":
            request_id.set(request_ids.next())
            said = "Nothing but 100-continue can be expected"
            return decorated(Problem(417, said))
        return await handler(request)

    return answer


class Decorated(web.Response):
    """One that has by itself what every answer has."""


async def decorate(_: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer has, before its headers leave."""
    if isinstance(response, Decorated):
        return
    response.headers["X-Request-Id"] = request_id.get()
    response.headers.update(COMMON_HEADERS)


def decorated(problem: Problem) -> web.Response:
    """*problem* with what `decorate` adds, where there is no application to call it."""
    answer = problem.response()
    answer.headers["X-Request-Id"] = request_id.get()
    answer.headers.update(COMMON_HEADERS)
    return answer


class IdleWatch:
    """Drops connections on which no whole request has come for too long.

    aiohttp limits the time between two requests, but waits without end for the
    first, and for the rest of one that came in part ("slow loris").
    """

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._busy: dict[object, int] = {}
        self._idle_since: dict[object, float] = {}

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        connection = request.protocol
        self._busy[connection] = self._busy.get(connection, 0) + 1
        try:
            return await handler(request)
        finally:
            self._busy[connection] -= 1
            if not self._busy[connection]:
                del self._busy[connection]
            self._idle_since.pop(connection, None)

    def seen(self, connection: object) -> None:
        """A whole request has come on *connection*, and was answered."""
        self._idle_since.pop(connection, None)

    @asynccontextmanager
    async def watching(self, server: web.Server) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch(server))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self, server: web.Server) -> None:
        while True:
            await asyncio.sleep(self._idle_s / 4)
            self.sweep(server, time.monotonic())

    def sweep(self, server: web.Server, now: float) -> None:
        idle = [one for one in server.connections if one not in self._busy]
        before, self._idle_since = self._idle_since, {}
        for connection in idle:
            since = before.get(connection, now)
            if now - since >= self._idle_s:
                connection.force_close()
            else:
                self._idle_since[connection] = since
