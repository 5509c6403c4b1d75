"""``hubsync serve``."""

import asyncio
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.cli.serving import answer, fetch_for_all, log_requests, work
from hubsync.config.schema import Settings
from hubsync.model.errors import ExitCode, UsageError
from hubsync.serve.options import ServeOptions
from hubsync.serve.supervisor import supervise
from hubsync.serve.trust import is_here
from hubsync.wiring import App, open_app

EPILOG = """\b
EXAMPLES
  hubsync serve
  hubsync serve --host 0.0.0.0 --port 8090
  hubsync serve --on-missing on_demand
  hubsync serve --host 0.0.0.0 --workers 4 --tls-self-signed

\b
CLIENTS
  export HF_ENDPOINT=http://127.0.0.1:8090
  hf download org/model

""" + exit_status(ExitCode.FAILED, ExitCode.USAGE, ExitCode.INTEGRITY, ExitCode.BUSY)


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
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Processes that answer; one a core is enough. [config: serve.workers]",
)
@click.option(
    "--unix-socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Listen there in place of host and port. [config: serve.unix_socket]",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Serve https with this certificate (PEM). [config: serve.tls_cert]",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="And its key, if it is not in the same file. [config: serve.tls_key]",
)
@click.option(
    "--tls-self-signed",
    "tls_self_signed",
    is_flag=True,
    help="Serve https with a certificate made here. [config: serve.tls_self_signed]",
)
@common_options
def command(common: Common, access_log: bool, **given: Any) -> None:
    """Answer Hugging Face clients from the store, until SIGTERM or Ctrl-C.

    What is pulled meanwhile is served at once.  Nothing upstream is contacted,
    unless --on-missing says so.  A read-only store works.
    """
    settings = common.settings()
    is_self_signed = given.pop("tls_self_signed") or settings.serve.tls_self_signed
    chosen = {key: value for key, value in given.items() if value is not None}
    options = dataclasses.replace(_options(settings), **chosen)
    access_log = access_log or settings.serve.access_log
    log_requests(access_log)

    def ready(listening: str) -> None:
        url = (options.base_url or listening).rstrip("/")
        if common.as_json:
            root = str(settings.store.root)
            print_json({"url": url, "listening": listening, "root": root})
        elif common.quiet:
            click.echo(url)
        else:
            say(f"serving {settings.store.root} on {url}")
            if options.unix_socket is None:
                say(f"clients: export HF_ENDPOINT={url}")
            if is_self_signed:
                cert = options.tls_cert
                say(f"clients: export SSL_CERT_FILE={cert} REQUESTS_CA_BUNDLE={cert}")

    _make_store(common)
    if is_self_signed:
        options = _self_signed(settings, options)
    with common.open(or_read_only=True) as app:
        _warn(app, options)
        options = dataclasses.replace(options, secret=app.secret())
        if options.workers == 1:
            asyncio.run(answer(app, options, ready))
            return
    part = partial(work, settings, options, access_log)
    beside = None
    if options.on_missing != "refuse":
        beside = partial(fetch_for_all, settings, options)
    asyncio.run(supervise(part, options, ready, beside))


def _self_signed(settings: Settings, options: ServeOptions) -> ServeOptions:
    """*options* with a certificate that is kept in the store."""
    if options.tls_cert or options.tls_key:
        raise UsageError(
            "a certificate is given, and a self-signed one asked for",
            hint="Leave out --tls-self-signed, or --tls-cert and --tls-key; or what "
            "says so under [serve] in the configuration.",
        )
    try:
        from hubsync.serve.certificate import (  # noqa: PLC0415 - 16 MB that most do without
            names_of,
            self_signed,
        )
    except ImportError:
        raise UsageError(
            "to make a certificate needs the package cryptography",
            hint="pip install 'hubsync[tls]', or give one with --tls-cert.",
        ) from None
    cert, key = self_signed(settings.store.root / "tls", names_of(options))
    return dataclasses.replace(options, tls_cert=cert, tls_key=key)


def _warn(app: App, options: ServeOptions) -> None:
    """Of what is probably not meant."""
    is_near = options.unix_socket is not None or is_here(options.host)
    if options.auth == "open" and not is_near:
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
        base_url=serve.base_url,
        drain_s=serve.drain,
        on_missing=serve.on_missing,
        xet=serve.xet,
        xet_above_bytes=serve.xet_above,
        unix_socket=serve.unix_socket,
        workers=serve.workers,
        tls_cert=serve.tls_cert,
        tls_key=serve.tls_key,
        accel=serve.accel,
        accel_prefix=serve.accel_prefix,
        connections_max=serve.max_connections,
        connections_per_client_max=serve.connections_per_client,
        auth=serve.auth,
        auth_cache_s=serve.auth_cache,
        auth_stale_s=serve.auth_stale,
        auth_header=serve.auth_header,
        trusted_proxies=serve.trusted_proxies,
        audit_log=serve.audit_log,
    )


def _make_store(common: Common) -> None:
    """A store that is not there yet starts empty; a read-only one is left alone."""
    settings = common.settings()
    if not (settings.store.root / "VERSION").exists():
        say(f"hubsync: warning: no store at {settings.store.root}: made an empty one")
        with open_app(settings, create=True):
            pass
