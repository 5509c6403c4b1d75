"""Requests that are none: refused in the form that every other answer has.

aiohttp's parser refuses them before there is a request that `edge` could see, and
aiohttp's own page repeats the line it stopped at: a header that was cut may hold a
token, and who sees the answer need not be who sent it.

What is relied upon: `web.RequestHandler.handle_error` makes that page, closes the
connection after it, and is called for nothing that has begun to be answered.
"""

import logging

from aiohttp import web
from aiohttp.http_exceptions import (
    BadHttpMethod,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)

from hubsync.serve.edge import COMMON_HEADERS, request_id, request_ids
from hubsync.serve.errors import Problem
from hubsync.serve.events import Event
from hubsync.serve.redact import redacted

log = logging.getLogger("hubsync.serve")

_SAID: tuple[tuple[type[HttpProcessingError], str], ...] = (
    (LineTooLong, "The first line or a header is too long"),
    (BadHttpMethod, "There is no such method"),
    (InvalidURLError, "That is no address"),
    (HttpProcessingError, "That is no request as HTTP has them"),
)


class Connection(web.RequestHandler):
    """aiohttp's connection, whose own errors are ours."""

    __slots__ = ()

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
        answer = Problem(status, said, close=True).response()
        answer.headers.update({**COMMON_HEADERS, "X-Request-Id": number})
        return answer


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
