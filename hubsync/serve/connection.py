"""One client's connection: requests that are none, and the last ones before the end.

aiohttp's parser refuses what is no request before there is one that `edge` could
see, and aiohttp's own page repeats the line it stopped at: a header that was cut may
hold a token, and who sees the answer need not be who sent it.

What is relied upon of `web.RequestHandler`: `handle_error` makes that page, and is
called for nothing that has begun to be answered; `finish_response` sends every
answer; ``_request_in_progress`` is set from a request to the end of its answer;
``_waiter`` is there while the next one is waited for, and ``_messages`` are those
that have come, `RawRequestMessage` unless they are none; a request without a body
has `EMPTY_PAYLOAD`.
"""

import asyncio
import logging
from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import (
    BadHttpMethod,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)
from aiohttp.streams import EMPTY_PAYLOAD

from hubsync.serve.edge import IdleWatch, decorated, request_id, request_ids
from hubsync.serve.errors import Problem
from hubsync.serve.events import Event
from hubsync.serve.hot import Begun, Hot
from hubsync.serve.redact import redacted

log = logging.getLogger("hubsync.serve")

LOOK_S = 0.05
_SAID: tuple[tuple[type[HttpProcessingError], str], ...] = (
    (LineTooLong, "The first line or a header is too long"),
    (BadHttpMethod, "There is no such method"),
    (InvalidURLError, "That is no address"),
    (HttpProcessingError, "That is no request as HTTP has them"),
)


class Connection(web.RequestHandler):
    """aiohttp's connection, whose own errors are ours.

    Once *stop* is set, each answer is the last: the client goes elsewhere.
    """

    __slots__ = ("_hot", "_is_clean", "_stop", "_watch", "begun")

    def __init__(
        self,
        manager: web.Server,
        *,
        stop: asyncio.Event,
        watch: IdleWatch,
        hot: Hot | None = None,
        **aiohttps: Any,
    ) -> None:
        super().__init__(manager, **aiohttps)
        self._stop, self._watch, self._hot = stop, watch, hot
        self._is_clean = True  # aiohttp's parser has no part of a request
        self.begun: Begun | None = None

    def take_begun(self) -> Begun:
        """What was begun with the request that is answered now; once."""
        begun, self.begun = self.begun, None
        assert begun is not None
        return begun

    def data_received(self, data: bytes) -> None:
        """Have *data* answered: at once if it can be, else as aiohttp does."""
        if self._hot and self._is_idle():
            assert self.transport is not None
            begun = self._hot.answer(data, self.transport)
            if begun is True:
                self._next_keepalive_close_time = (
                    self._loop.time() + self._keepalive_timeout
                )
                self._watch.seen(self)
                return
            self.begun = begun or None
        super().data_received(data)
        self._is_clean = (
            data.endswith(b"\r\n\r\n")
            and bool(self._messages)
            and isinstance(self._messages[-1][0], RawRequestMessage)
            and self._messages[-1][1] is EMPTY_PAYLOAD
            and not self._upgraded
        )
        if self.begun and not self._is_clean and self.transport is not None:
            self.transport.abort()  # it is no request to aiohttp: there is no way on

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client has left."""
        if self.begun:
            self.take_begun().file.close()
        super().connection_lost(exc)

    def _is_idle(self) -> bool:
        """Whether what comes now is the beginning of a request, and the next one."""
        waits = self._waiter is not None and not self._waiter.done()
        return (
            waits
            and self._is_clean
            and not self._messages
            and not self._stop.is_set()
            and self.transport is not None
            and not self.transport.is_closing()
        )

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way, to the last byte that is ours to send.

        Or will be: a request that came in this turn of the loop is met in the next.
        """
        if self._request_in_progress:
            return True
        return self.transport is not None and bool(
            self._messages or _unsent_bytes(self.transport)
        )

    async def finish_response(
        self,
        request: web.BaseRequest,
        resp: web.StreamResponse,
        start_time: float | None,
    ) -> tuple[web.StreamResponse, bool]:
        """Send *resp*."""
        if self._stop.is_set():
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be read, or to a failure outside `edge`."""
        number = request_ids.next()
        request_id.set(number)
        # It logs, and raises if an answer has begun; its page is thrown away.
        super().handle_error(request, status, exc, message)
        found = (said for kind, said in _SAID if isinstance(exc, kind))
        said = next(found, f"Internal error, request {number}")
        return decorated(Problem(status, said, close=True))


def _unsent_bytes(transport: asyncio.WriteTransport) -> int:
    """Over TLS also what is encrypted: asyncio keeps it in the transport beneath."""
    protocol = getattr(transport, "_ssl_protocol", None)
    beneath = getattr(protocol, "_transport", None)
    size = transport.get_write_buffer_size()
    return size + (beneath.get_write_buffer_size() if beneath else 0)


async def drain(server: web.Server, patience_s: float) -> None:
    """Wait for the answers that are under way, but no longer than *patience_s*."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience_s
    while busy := _busy(server):
        if loop.time() >= until:
            log.warning(Event("answers cut off", count=busy))
            return
        # Bytes leave a transport's buffer, and nothing tells when the last has.
        await asyncio.sleep(LOOK_S)


def _busy(server: web.Server) -> int:
    open_now = [one for one in server.connections if isinstance(one, Connection)]
    return sum(one.is_busy for one in open_now)


def protocol_log() -> logging.Logger:
    """Where aiohttp reports requests that are none: one quiet line each.

    Scanners send many, and a traceback of ours explains nothing about them.
    """
    quiet = logging.getLogger("hubsync.serve.protocol")
    if not quiet.filters:
        quiet.addFilter(_without_traceback)
    return quiet


def _without_traceback(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, (HttpProcessingError, web.RequestPayloadError)):
        return True
    record.msg = Event(
        "request refused",
        reason=redacted(str(error))[:200],
        request_id=request_id.get(None),
    )
    record.args, record.exc_info = None, None
    record.levelno, record.levelname = logging.INFO, "INFO"
    return log.isEnabledFor(logging.INFO)
