"""The server's life: put together, listen, drain, end."""

import asyncio
import errno
import signal
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.ports.gate import Gate
from hubsync.serve.access import Access
from hubsync.serve.api import Api
from hubsync.serve.cas import Cas
from hubsync.serve.conditional import conditional
from hubsync.serve.contents import Contents
from hubsync.serve.damages import Damages, Recheck
from hubsync.serve.edge import IdleWatch, decorate, edge, expecting, protocol_log
from hubsync.serve.files import FileSender
from hubsync.serve.following import Following, Source
from hubsync.serve.library import Library
from hubsync.serve.more import more_families
from hubsync.serve.options import ServeOptions
from hubsync.serve.site import Site
from hubsync.serve.xet import Xet

LINE_BYTES_MAX = 8190  # of a request's first line, and of one header
HEADERS_MAX = 128
LINGER_S = 2.0  # the rest of a refused body is read this long, so that it is heard
BACKLOG = 1024

_watch_key = web.AppKey("watch", IdleWatch)


class PortTakenError(HubsyncError):
    """Something else listens where we should."""

    exit_code = ExitCode.BUSY


def create_app(
    library: Library,
    options: ServeOptions,
    *,
    source: Source | None = None,
    recheck: Recheck | None = None,
    gate: Gate | None = None,
) -> web.Application:
    """The application; its threads are ended by its own clean-up.

    *source* gets what is missing, *recheck* looks at what seems damaged; None:
    it is refused, and only logged.  *gate* is asked about readers, for
    ``serve.auth = "pass-through"``.

    Raises:
        UsageError, AuditLogError: *options* cannot be meant.
    """
    access = Access.of(library, options, gate)
    watch = IdleWatch(options.idle_s)
    app = web.Application(
        middlewares=[edge, watch.middleware, conditional],
        client_max_size=options.body_bytes_max,
    )
    app[_watch_key] = watch
    damages = Damages(recheck)
    sender = FileSender(library.blobs, options, damages)
    missing = None
    if source:
        keeps = options.on_missing == "on_demand"
        missing = Following(source, library, sender, keeps=keeps)
    xet = Xet(options)
    contents = Contents(library, sender, xet, missing)
    api = Api(library, contents, options, access, xet, missing=missing)
    cas = Cas(library, sender, options, access)
    more = more_families(api, library, contents, options)
    site = Site(api, library, options, access, {**cas.families, **more})
    app.router.add_route("*", "/{raw:.*}", site.dispatch)
    # Not in the middleware: a large body has left when it returns there.
    app.on_response_prepare.append(decorate)
    if access.is_watching:
        app.on_response_prepare.append(access.before_headers)

    async def close_parts(_: web.Application) -> AsyncIterator[None]:
        yield
        if source:
            await source.close()
        await damages.close()
        sender.close()
        access.close()

    app.cleanup_ctx.append(close_parts)
    return app


async def run(
    app: web.Application, options: ServeOptions, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers end.

    Raises:
        PortTakenError: somebody else has the port.
        HubsyncError: the address cannot be listened on.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(app, options, on_ready, stop)


async def serve(
    app: web.Application,
    options: ServeOptions,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """As `run`, until *stop* is set; for a loop that has no signals."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=protocol_log(),
        handle_signals=False,
        shutdown_timeout=options.drain_s,
        keepalive_timeout=options.idle_s,
        lingering_time=LINGER_S,
        max_line_size=LINE_BYTES_MAX,
        max_field_size=LINE_BYTES_MAX,
        max_headers=HEADERS_MAX,
        auto_decompress=False,  # no client compresses; one that does means a bomb
    )
    await runner.setup()
    try:
        assert runner.server
        runner.server.request_handler = expecting(runner.server.request_handler)
        site = web.TCPSite(runner, options.host, options.port, backlog=BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise _explain(error, options) from error
        async with app[_watch_key].watching(runner.server):
            on_ready(_url(runner, options))
            await stop.wait()
    finally:
        await runner.cleanup()


def _url(runner: web.AppRunner, options: ServeOptions) -> str:
    host, port = runner.addresses[0][:2]
    if ":" in host:
        host = f"[{host}]"
    return (options.base_url or f"http://{host}:{port}").rstrip("/")


def _explain(error: OSError, options: ServeOptions) -> HubsyncError:
    where = f"{options.host}:{options.port}"
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(
            f"something else listens on {where}",
            hint="Stop it, or choose another port with --port (0 takes a free one).",
        )
    return HubsyncError(
        f"cannot listen on {where}: {error.strerror or error}",
        hint="Check --host and --port; ports below 1024 need a privilege.",
    )
