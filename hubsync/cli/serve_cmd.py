"""``hubsync serve``."""

import asyncio
import dataclasses
import logging

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.config.schema import Settings
from hubsync.model.errors import ExitCode
from hubsync.serve.app import create_app, run
from hubsync.serve.library import Library
from hubsync.serve.options import ServeOptions
from hubsync.serve.trust import is_here
from hubsync.wiring import App, open_app

EPILOG = """\b
EXAMPLES
  hubsync serve
  hubsync serve --host 0.0.0.0 --port 8090

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
@click.option("--access-log", is_flag=True, help="Log every request to stderr.")
@common_options
def command(
    common: Common, host: str | None, port: int | None, access_log: bool
) -> None:
    """Answer Hugging Face clients from the store, until SIGTERM or Ctrl-C.

    Nothing upstream is contacted.  What is pulled meanwhile is served at once.
    A read-only store works.
    """
    settings = common.settings()
    options = _options(settings)
    if host is not None:
        options = dataclasses.replace(options, host=host)
    if port is not None:
        options = dataclasses.replace(options, port=port)
    logging.basicConfig(level=logging.INFO if access_log else logging.WARNING)

    def ready(url: str) -> None:
        if common.as_json:
            print_json({"url": url, "root": str(settings.store.root)})
        elif not common.quiet:
            say(f"serving {settings.store.root} on {url}")
            say(f"clients: export HF_ENDPOINT={url}")

    _make_store(common)
    with common.open(read_only=True) as app:
        gate = app.gate() if options.auth == "pass-through" else None
        server = create_app(_library(app), options, gate)
        _warn(app, options)
        asyncio.run(run(server, options, ready))


def _warn(app: App, options: ServeOptions) -> None:
    """Of what is probably not meant."""
    if options.auth == "open" and not (options.unix_socket or is_here(options.host)):
        say(
            f"hubsync: warning: whoever reaches {options.host}:{options.port} can read "
            "all that is held, also what is gated or private upstream. To change it: "
            'auth = "tokens" under [serve] in the configuration, and hubsync token add'
        )
    if options.auth == "tokens" and not app.catalog.tokens():
        say("hubsync: warning: nobody can read: there is no token (hubsync token add)")


def _options(settings: Settings) -> ServeOptions:
    serve = settings.serve
    return ServeOptions(
        host=serve.host,
        port=serve.port,
        unix_socket=serve.unix_socket,
        base_url=serve.base_url,
        workers=serve.workers,
        tls_cert=serve.tls_cert,
        tls_key=serve.tls_key,
        tls_self_signed=serve.tls_self_signed,
        trusted_proxies=serve.trusted_proxies,
        accel=serve.accel,
        accel_prefix=serve.accel_prefix,
        connections_max=serve.max_connections,
        connections_per_client_max=serve.connections_per_client,
        access_log=serve.access_log,
        on_missing=serve.on_missing,
        allow=serve.allow,
        deny=serve.deny,
        refresh_after_s=serve.refresh_after,
        xet=serve.xet,
        xet_above_bytes=serve.xet_above,
        auth=serve.auth,
        auth_cache_s=serve.auth_cache,
        auth_header=serve.auth_header,
        audit_log=serve.audit_log,
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
