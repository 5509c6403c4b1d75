"""``hubsync serve``."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.config.schema import Settings
from hubsync.model.errors import ExitCode, UsageError
from hubsync.serve.app import create_app, run
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.sync.ondemand import OnDemandOptions
from hubsync.wiring import App, open_app

EPILOG = """\b
EXAMPLES
  hubsync serve
  hubsync serve --host 0.0.0.0 --port 8090
  hubsync serve --on-missing on_demand

\b
CLIENTS
  export HF_ENDPOINT=http://127.0.0.1:8090
  hf download org/model

""" + exit_status(ExitCode.FAILED, ExitCode.USAGE, ExitCode.BUSY)


@click.command("serve", epilog=EPILOG)
@click.option("--host", help="Address to listen on. [config: serve.host]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port; 0 takes a free one. [config: serve.port]",
)
@click.option(
    "--on-missing",
    type=click.Choice(["refuse", "on_demand", "streamed"]),
    help="What is not held: refuse, fetch and keep, or pass through. "
    "[config: serve.on_missing]",
)
@click.option("--access-log", is_flag=True, help="Log every request to stderr.")
@common_options
def command(
    common: Common,
    host: str | None,
    port: int | None,
    on_missing: str | None,
    access_log: bool,
) -> None:
    """Answer Hugging Face clients from the store, until SIGTERM or Ctrl-C.

    What is pulled meanwhile is served at once.  Nothing upstream is contacted,
    unless --on-missing says so.  A read-only store works.
    """
    settings = common.settings()
    options = _options(settings)
    if host is not None:
        options = dataclasses.replace(options, host=host)
    if port is not None:
        options = dataclasses.replace(options, port=port)
    if on_missing is not None:
        options = dataclasses.replace(options, on_missing=on_missing)
    logging.basicConfig(level=logging.WARNING)
    if access_log or settings.serve.access_log:
        # Ours alone: libraries log every request that goes upstream, too.
        logging.getLogger("hubsync").setLevel(logging.INFO)

    def ready(url: str) -> None:
        if common.as_json:
            print_json({"url": url, "root": str(settings.store.root)})
        elif not common.quiet:
            say(f"serving {settings.store.root} on {url}")
            say(f"clients: export HF_ENDPOINT={url}")

    _make_store(common)
    with common.open(or_read_only=True) as app:
        asyncio.run(_run(app, options, ready))


async def _run(app: App, options: ServeOptions, ready: Callable[[str], None]) -> None:
    ondemand = None
    if options.on_missing != "refuse":
        if app.root.read_only:
            raise UsageError(
                f"serve.on_missing = {options.on_missing!r} needs a store that can be "
                f"written, and {app.root.path} cannot",
                hint='Serve it with on_missing = "refuse".',
            )
        ondemand = app.ondemand(
            OnDemandOptions(options.allow, options.deny, options.refresh_after_s)
        )
    recheck = None if app.root.read_only else app.recheck
    server = create_app(_library(app), options, ondemand=ondemand, recheck=recheck)
    await run(server, options, ready)


def _options(settings: Settings) -> ServeOptions:
    serve = settings.serve
    return ServeOptions(
        host=serve.host,
        port=serve.port,
        base_url=serve.base_url,
        on_missing=serve.on_missing,
        allow=serve.allow,
        deny=serve.deny,
        refresh_after_s=serve.refresh_after,
        xet=serve.xet,
        xet_above_bytes=serve.xet_above,
    )


def _library(app: App) -> Library:
    return Library(app.catalog, app.blobs, upstream_order=app.upstream_order)


def _make_store(common: Common) -> None:
    """A store that is not there yet starts empty; a read-only one is left alone."""
    settings = common.settings()
    if not (settings.store.root / "VERSION").exists():
        say(f"hubsync: warning: no store at {settings.store.root}: made an empty one")
        with open_app(settings, create=True):
            pass
