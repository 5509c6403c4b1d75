"""The server's life: put together, listen, drain, end."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from hubsync.ports.gate import Gate
from hubsync.serve.accel import Accel
from hubsync.serve.access import Access
from hubsync.serve.account import Account
from hubsync.serve.api import Api
from hubsync.serve.cas import Cas
from hubsync.serve.conditional import conditional
from hubsync.serve.connection import Connection, drain, protocol_log
from hubsync.serve.contents import Contents
from hubsync.serve.damages import Damages, Recheck
from hubsync.serve.direct import go_directly
from hubsync.serve.edge import IdleWatch, decorate, edge, expecting
from hubsync.serve.files import FileSender
from hubsync.serve.folder import BlobFolder
from hubsync.serve.following import Following, Source
from hubsync.serve.hot import Hot
from hubsync.serve.library import Library
from hubsync.serve.limits import ConnectionLimits
from hubsync.serve.listen import BACKLOG, bind, close, url_of
from hubsync.serve.metrics import Metrics
from hubsync.serve.more import more_families
from hubsync.serve.options import ServeOptions
from hubsync.serve.probes import Probes
from hubsync.serve.proxies import Proxies
from hubsync.serve.shortage import LoopErrors
from hubsync.serve.site import Site
from hubsync.serve.tls import HANDSHAKE_S, Tls
from hubsync.serve.xet import Xet

LINE_BYTES_MAX = 8190  # of a request's first line, and of one header
HEADERS_MAX = 128
CUT_S = 0.5  # what has not ended with the time to drain: aiohttp waits twice so long
LINGER_S = 2.0  # the rest of a refused body is read this long, so that it is heard

_watch_key = web.AppKey("watch", IdleWatch)
_hot_key = web.AppKey("hot", Hot)
_limits_key = web.AppKey("limits", ConnectionLimits)
_probes_key = web.AppKey("probes", Probes)


def create_app(
    library: Library,
    options: ServeOptions,
    *,
    source: Source | None = None,
    recheck: Recheck | None = None,
    gate: Gate | None = None,
    folder: BlobFolder | None = None,
    metrics: Metrics | None = None,
) -> web.Application:
    """The application; its threads are ended by its own clean-up.

    *source* gets what is missing, *recheck* looks at what seems damaged; None:
    it is refused, and only logged.  *gate* is asked about readers, for
    ``serve.auth = "pass-through"``.  *folder* is where the blobs are, *metrics*
    where to count; None: here alone.

    Raises:
        UsageError, AuditLogError: *options* cannot be meant.
    """
    metrics = metrics or Metrics()
    proxies = Proxies(options)
    limits = ConnectionLimits(options, proxies.trusts, metrics)
    account = Account(proxies, limits, metrics)
    access = Access.of(library, options, gate)
    watch = IdleWatch(options.idle_s)
    app = web.Application(
        middlewares=[account.middleware, edge, watch.middleware, conditional],
        client_max_size=options.body_bytes_max,
    )
    probes = Probes(library, folder, metrics)
    app[_watch_key], app[_limits_key], app[_probes_key] = watch, limits, probes
    damages = Damages(recheck, folder)
    sender = FileSender(library.blobs, options, damages, Accel(options, folder))
    missing, hot = None, None
    if source:
        keeps = options.on_missing == "on_demand"
        missing = Following(source, library, sender, keeps=keeps)
    xet = Xet(options)
    # Where it matters who asks, or each answer is written down, there is none.
    is_plain = access.is_open and not access.is_watching and options.accel == "off"
    if is_plain and not (options.trusted_proxies or options.unix_socket):
        hot = app[_hot_key] = Hot(library, sender, metrics, missing)
    contents = Contents(library, sender, xet, missing, hot)
    api = Api(library, contents, options, access, xet, missing=missing)
    cas = Cas(library, sender, options, access)
    more = more_families(api, library, contents, options)
    families = {**cas.families, **probes.families, **more}
    site = Site(api, library, options, access, families)
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
    app: web.Application,
    options: ServeOptions,
    on_ready: Callable[[str], None],
    *,
    sockets: Sequence[socket.socket] | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then let running answers end.

    *on_ready* is told where we listen.  SIGHUP reads the certificate again.  For
    *sockets* and *stop* see `serve`.

    Raises:
        PortTakenError: somebody else has the port.
        HubsyncError: the address cannot be listened on.
        UsageError: the certificate cannot be used.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls = Tls.of(options)
    if tls:
        loop.add_signal_handler(signal.SIGHUP, tls.reload)
    await serve(app, options, on_ready, stop, sockets=sockets, tls=tls)


async def serve(
    app: web.Application,
    options: ServeOptions,
    on_ready: Callable[[str], None],
    stop: asyncio.Event,
    *,
    sockets: Sequence[socket.socket] | None = None,
    tls: Tls | None = None,
) -> None:
    """As `run`, until *stop* is set; for a loop that has no signals.

    *sockets* are bound already; None: to what *options* say.
    """
    tls = tls or Tls.of(options)
    protocol: dict[str, Any] = {
        "access_log": None,
        "logger": protocol_log(),
        "keepalive_timeout": options.idle_s,
        "lingering_time": LINGER_S,
        "max_line_size": LINE_BYTES_MAX,
        "max_field_size": LINE_BYTES_MAX,
        "max_headers": HEADERS_MAX,
        "auto_decompress": False,  # no client compresses; one that does means a bomb
    }
    runner = web.AppRunner(
        app, handle_signals=False, shutdown_timeout=CUT_S, **protocol
    )
    await runner.setup()
    assert runner.server
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    # What others add to answers is theirs to see; alone, `decorate` is known of.
    hot = app.get(_hot_key) if len(app.on_response_prepare) == 1 else None
    connect = partial(
        Connection,
        runner.server,
        stop=stop,
        watch=app[_watch_key],
        hot=hot,
        loop=loop,
        **protocol,
    )
    runner.server.request_handler = expecting(runner.server.request_handler)
    go_directly(app, runner.server, hot)
    servers: list[asyncio.Server] = []
    own = bind(options) if sockets is None else []
    sockets = sockets or own
    try:
        for one in sockets:
            server = await _listen(app, connect, one, tls)
            servers.append(server)
        async with app[_watch_key].watching(runner.server):
            on_ready(url_of(sockets, "https" if tls else "http"))
            await stop.wait()
            app[_probes_key].is_draining = True
            # Nobody new; who is connected already may ask once more, and goes then.
            for server in servers:
                server.close()
            close(own, options)
            own.clear()  # a unix socket's file may be the next server's from now on
            await drain(runner.server, options.drain_s)
    finally:
        for server in servers:
            server.close()
        close(own, options)
        await runner.cleanup()


async def _listen(
    app: web.Application,
    inner: Callable[[], Connection],
    one: socket.socket,
    tls: Tls | None,
) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(
        partial(app[_limits_key].guard, inner),
        sock=one,
        ssl=tls.context if tls else None,
        ssl_handshake_timeout=HANDSHAKE_S if tls else None,
        backlog=BACKLOG,
    )
