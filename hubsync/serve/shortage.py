"""What the machine is short of: open files, or memory.  It passes, and is no damage."""

import asyncio
import errno
import logging
import resource
import time
from dataclasses import replace
from typing import Any

from hubsync.serve.events import Event
from hubsync.serve.options import ServeOptions

log = logging.getLogger("hubsync.serve")

FILES_A_CONNECTION = 3  # its socket, a second number of it, and what is sent
FILES_BESIDES = 64  # the catalog's, the sockets we listen on, the log
FILES_WANTED_BESIDES = 256  # what is fetched for clients takes some, too
CONNECTIONS_MIN = 4  # with fewer files than that takes, some are told to come again
LOG_EVERY_S = 10.0
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_WAITS_FOR_FILES = "socket.accept() out of system resource"  # asyncio's own words
_ACCEPTS_AGAIN = "_start_serving"


def is_short(error: BaseException | None) -> bool:
    """Whether *error*, or what it came from, is a shortage."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and error.errno in _SHORT:
            return True
        error = error.__cause__
    return False


class Seldom:
    """Logs what may happen a thousand times a second: one line in ten seconds."""

    def __init__(self) -> None:
        self._count, self._logged_at = 0, -LOG_EVERY_S

    def warn(self, what: str, **fields: object) -> None:
        """Log *what* with *fields* and how often it was since the line before."""
        self._count += 1
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            log.warning(Event(what, **fields, count=self._count))
            self._count, self._logged_at = 0, now


class LoopErrors:
    """The event loop's handler of errors that nobody waits for.

    asyncio tries to accept once for each place in the queue, and logs a traceback
    each time; it goes on a second later, by itself.
    """

    def __init__(self) -> None:
        self._short = Seldom()

    def __call__(
        self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
    ) -> None:
        error, message = context.get("exception"), str(context.get("message"))
        if message == _WAITS_FOR_FILES and is_short(error):
            self._short.warn("no connection can be accepted", reason=str(error))
        elif isinstance(error, ValueError) and _ACCEPTS_AGAIN in message:
            pass  # the second is over, and so is the server
        else:
            loop.default_exception_handler(context)


def fitted(options: ServeOptions) -> ServeOptions:
    """*options* with as many connections as there may be files; raises the limit.

    Processes that are started later inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = FILES_A_CONNECTION * options.connections_max + FILES_WANTED_BESIDES
    if hard != resource.RLIM_INFINITY:
        want = min(want, hard)
    if soft != resource.RLIM_INFINITY and soft < want:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (want, hard))
        except (OSError, ValueError):
            want = soft  # macOS has one more limit, and does not tell it
        soft = want
    if soft == resource.RLIM_INFINITY:
        return options
    fit = max(CONNECTIONS_MIN, (soft - FILES_BESIDES) // FILES_A_CONNECTION)
    if fit >= options.connections_max:
        return options
    return replace(options, connections_max=fit)
