"""Serving an open store: in this process, or as one of several."""

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hubsync.cli.main import CYCLES_AFTER
from hubsync.cli.streams import set_up_streams
from hubsync.config.schema import Settings
from hubsync.model.errors import ExitCode, HubsyncError, UsageError
from hubsync.serve.app import create_app, run
from hubsync.serve.folder import BlobFolder
from hubsync.serve.following import Source
from hubsync.serve.library import Library
from hubsync.serve.metrics import Metrics
from hubsync.serve.options import ServeOptions
from hubsync.serve.supervisor import Attach, Orders
from hubsync.sync.ondemand import OnDemand, OnDemandOptions
from hubsync.sync.relay import Relay
from hubsync.sync.remote import Remote
from hubsync.wiring import App, open_app


async def answer(
    app: App,
    options: ServeOptions,
    ready: Callable[[str], None],
    orders: Orders | None = None,
) -> None:
    """Serve *app*; with *orders* as one of several processes."""
    source: Source | None = None
    if options.on_missing != "refuse":
        source = ondemand = _ondemand(app, options)
        if orders and orders.beside:
            source = Remote(orders.beside, ondemand)
    recheck = None if app.root.read_only else app.recheck
    server = create_app(
        _library(app),
        options,
        source=source,
        recheck=recheck,
        gate=app.gate() if options.auth == "pass-through" else None,
        folder=BlobFolder(app.root.blobs, app.blobs.path),
        metrics=orders.metrics() if orders else None,
    )
    if orders is None:
        await run(server, options, ready)
        return
    stop = asyncio.Event()
    orders.stop_with_parent(stop)
    await run(server, options, ready, sockets=orders.listeners(), stop=stop)


@asynccontextmanager
async def fetch_for_all(
    settings: Settings, options: ServeOptions, _: Metrics
) -> AsyncIterator[Attach]:
    """What the parent of several processes does for them: as `supervisor.Beside`."""
    with open_app(settings) as app:
        ondemand = _ondemand(app, options)
        relay = Relay(ondemand)
        try:
            yield relay.attach
        finally:
            await relay.close()
            await ondemand.close()


def _ondemand(app: App, options: ServeOptions) -> OnDemand:
    if app.root.read_only:
        raise UsageError(
            f"serve.on_missing = {options.on_missing!r} needs a store that can be "
            f"written, and {app.root.path} cannot",
            hint='Serve it with on_missing = "refuse".',
        )
    serve = app.settings.serve
    return app.ondemand(OnDemandOptions(serve.allow, serve.deny, serve.refresh_after))


def log_requests(access_log: bool) -> None:
    """Log to stderr what goes wrong, and every request if it is wanted."""
    logging.basicConfig(level=logging.WARNING)
    if access_log:
        # Ours alone: libraries log every request that goes upstream, too.
        logging.getLogger("hubsync").setLevel(logging.INFO)


def work(
    settings: Settings, options: ServeOptions, access_log: bool, orders: Orders
) -> None:
    """Serve as one of several, until SIGTERM or until the parent is gone."""
    set_up_streams()
    gc.set_threshold(CYCLES_AFTER)
    log_requests(access_log)
    code = ExitCode.DONE
    try:
        with open_app(settings, or_read_only=True) as app:
            asyncio.run(answer(app, options, orders.ready, orders))
    except HubsyncError as error:
        orders.failed(error)
        code = error.exit_code
    logging.shutdown()
    os._exit(code)


def _library(app: App) -> Library:
    return Library(app.catalog, app.blobs, upstream_order=app.upstream_order)
