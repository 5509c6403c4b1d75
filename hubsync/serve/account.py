"""The outermost look at each request: who asks, and what it came to."""

import logging
import time

from aiohttp import web

from hubsync.serve.edge import CLIENT_CLOSED_REQUEST, Handler, request_id, request_ids
from hubsync.serve.errors import Problem
from hubsync.serve.events import Event
from hubsync.serve.limits import ConnectionLimits
from hubsync.serve.metrics import OTHER, Metrics
from hubsync.serve.proxies import CALLER, Proxies, client_of
from hubsync.serve.redact import redacted
from hubsync.serve.routing import ROUTE
from hubsync.serve.sent import begin_count

log = logging.getLogger("hubsync.serve")

RETRY_AFTER_S = 1
TARGET_MAX = 500
AGENT_MAX = 200


class Account:
    """Counts and logs every request, whatever becomes of it."""

    def __init__(
        self, proxies: Proxies, limits: ConnectionLimits, metrics: Metrics
    ) -> None:
        self._proxies, self._limits, self._metrics = proxies, limits, metrics

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        started = time.monotonic()
        sent = begin_count()
        self._metrics.began()
        status = CLIENT_CLOSED_REQUEST  # until there is an answer
        response = None
        try:
            caller = self._proxies.caller(request)
            if caller is None:
                response = await handler(request)
            else:
                request[CALLER] = caller
                response = await self._for(caller.client, request, handler)
            status = response.status
        finally:
            elapsed_s = time.monotonic() - started
            sent_bytes = sent[0] + _body_bytes(request, response)
            route = request.get(ROUTE, OTHER)
            self._metrics.ended(request.method, route, status, elapsed_s, sent_bytes)
            if log.isEnabledFor(logging.INFO):
                log_answer(
                    method=request.method,
                    target=request.raw_path,
                    status=status,
                    elapsed_s=elapsed_s,
                    sent_bytes=sent_bytes,
                    client=client_of(request),
                    agent=request.headers.get("User-Agent", ""),
                    number=request_id.get(None),
                )
        return response

    async def _for(
        self, client: str, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """Answer one of a proxy's clients: they share its connections."""
        if not self._limits.enter(client):
            request_id.set(request_ids.next())
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            return Problem(429, "Too many requests at once", more=retry).response()
        try:
            return await handler(request)
        finally:
            self._limits.exit(client)


def _body_bytes(request: web.Request, response: web.StreamResponse | None) -> int:
    """Of a body that aiohttp sends after us."""
    if request.method == "HEAD" or not isinstance(response, web.Response):
        return 0
    body = response.body
    return len(body) if isinstance(body, (bytes, bytearray)) else 0


def log_answer(
    *,
    method: str,
    target: str,
    status: int,
    elapsed_s: float,
    sent_bytes: int,
    client: str,
    agent: str,
    number: str | None,
) -> None:
    """The line of one request in the access log."""
    log.info(
        Event(
            "client left" if status == CLIENT_CLOSED_REQUEST else "request answered",
            method=method,
            target=redacted(target)[:TARGET_MAX],
            status=status,
            elapsed_ms=round(elapsed_s * 1000, 1),
            sent_bytes=sent_bytes,
            client=client or None,
            agent=redacted(agent)[:AGENT_MAX],
            request_id=number,
        )
    )
