"""``hubsync token``."""

from datetime import UTC, datetime, timedelta

import click

from hubsync.catalog.tokens import TokenGrant, TokenRow
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import iso, print_json, print_table, say
from hubsync.model.errors import ExitCode, NotHeldError, UsageError
from hubsync.model.globs import can_match
from hubsync.model.token import digest_of, is_token_name, new_token
from hubsync.model.units import format_size, parse_duration, parse_rate

EPILOG = exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.UNAVAILABLE)
ADD_EPILOG = (
    """\b
EXAMPLES
  hubsync token add ci
  hubsync token add team --repo 'acme/*' --repo 'datasets/b/*' --expires 90d
  hubsync token add guest --expires 2027-01-01 --rate 50MB/s --requests 600

\b
USING IT
  export HF_TOKEN=hs_...

"""
    + EPILOG
)


@click.group("token", epilog=EPILOG)
def command() -> None:
    """Tokens of those who may read, for `serve.auth = "tokens"`."""


@command.command("add", epilog=ADD_EPILOG)
@click.argument("name")
@click.option(
    "--repo",
    "globs",
    multiple=True,
    metavar="GLOB",
    help="Only repos that match; may be given again. [default: all]",
)
@click.option(
    "--expires",
    metavar="90d|DATE",
    help="After a time, or when DATE begins (UTC). [default: never]",
)
@click.option("--rate", help="Bytes a second, as 50MB/s. [default: no limit]")
@click.option(
    "--requests",
    type=click.IntRange(min=1),
    help="Requests a minute. [default: no limit]",
)
@common_options
def add(
    common: Common,
    *,
    name: str,
    globs: tuple[str, ...],
    expires: str | None,
    rate: str | None,
    requests: int | None,
) -> None:
    """Make a token and print it, this once: only its digest is kept.

    NAME is for you, for logs and for `hubsync token revoke`. GLOB is held against
    org/name, datasets/org/name and upstream:datasets/org/name, in any case, as in
    `hubsync list`: 'org/*' is every type, 'datasets/org/*' only datasets.
    """
    if not is_token_name(name):
        raise UsageError(
            f"not a name for a token: {name[:100]!r}",
            hint="Use up to 64 letters, digits and . _ - @",
        )
    for glob in globs:
        if not can_match(glob):
            raise UsageError(
                f"--repo {glob[:200]!r} can match no repo",
                hint="Write 'org/*', 'org/name', 'datasets/org/*' or "
                "'upstream:org/name'.",
            )
    grant = TokenGrant(
        repos=globs or ("*",),
        expires_at=_expiry(expires, datetime.now(UTC)) if expires else None,
        rate_bytes_per_s=_rate(rate) if rate else None,
        requests_per_minute=requests,
    )
    token = new_token()
    with common.open(create=True) as app:
        app.catalog.add_token(name, digest_of(token), grant)
    if common.as_json:
        print_json({"token": token, **_shown(name, grant)})
        return
    click.echo(token)
    if not common.quiet:
        say(f"the token of {name}; it is not shown again. export HF_TOKEN=…")
        if common.settings().serve.auth != "tokens":
            say('hubsync: warning: tokens count when [serve] auth = "tokens" is set')


@command.command("list", epilog=EPILOG)
@common_options
def list_command(common: Common) -> None:
    """Tokens that were made and not revoked, expired ones, too."""
    now = datetime.now(UTC)
    with common.open(read_only=True) as app:
        rows = app.catalog.tokens()
    if common.as_json:
        for row in rows:
            print_json(
                {
                    **_shown(row.name, row.grant),
                    "created_at": iso(row.created_at),
                    "expired": not row.is_valid_at(now),
                }
            )
    elif common.quiet:
        for row in rows:
            click.echo(row.name)
    else:
        headers = ["NAME", "REPOS", "EXPIRES", "RATE", "REQUESTS", "CREATED"]
        print_table(headers, [_cells(row, now) for row in rows])


@command.command("revoke", epilog=EPILOG)
@click.argument("name")
@common_options
def revoke(common: Common, name: str) -> None:
    """Refuse a token from its next request on."""
    with common.open() as app:
        if not app.catalog.revoke_token(name):
            raise NotHeldError(
                f"there is no token named {name[:100]!r}",
                hint="See their names: hubsync token list",
            )
    if common.as_json:
        print_json({"revoked": name})
    elif not common.quiet:
        say(f"{name} is revoked; an answer that is being sent runs to its end")


def _expiry(text: str, now: datetime) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        seconds = parse_duration(text)
        try:
            when = now + timedelta(seconds=seconds)
        except OverflowError:
            raise UsageError(
                f"--expires {text} is too far away", hint="Leave it out for: never."
            ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    if when <= now:
        raise UsageError(f"--expires {text} is over already")
    return when


def _rate(text: str) -> int:
    found = parse_rate(text)
    if found <= 0:
        raise UsageError("--rate must be more than nothing")
    return found


def _shown(name: str, grant: TokenGrant) -> dict[str, object]:
    return {
        "name": name,
        "repos": list(grant.repos),
        "expires_at": iso(grant.expires_at),
        "rate_bytes_per_s": grant.rate_bytes_per_s,
        "requests_per_minute": grant.requests_per_minute,
    }


def _cells(row: TokenRow, now: datetime) -> list[str]:
    grant = row.grant
    expires = iso(grant.expires_at) or "never"
    return [
        row.name,
        ",".join(grant.repos),
        expires if row.is_valid_at(now) else f"{expires} (expired)",
        f"{format_size(grant.rate_bytes_per_s)}/s" if grant.rate_bytes_per_s else "-",
        f"{grant.requests_per_minute}/min" if grant.requests_per_minute else "-",
        iso(row.created_at) or "",
    ]
