"""``hubsync db``."""

import click

from hubsync.catalog import schema
from hubsync.cli.common import Common, common_options
from hubsync.cli.db_rebuild import rebuild_command
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json
from hubsync.model.errors import ExitCode

EPILOG = exit_status(ExitCode.FAILED, ExitCode.USAGE, ExitCode.UNAVAILABLE)


@click.group("db", epilog=EPILOG)
def command() -> None:
    """The catalog: its schema, and making it again from the store."""


command.add_command(rebuild_command)


@command.command("upgrade", epilog=EPILOG)
@common_options
def upgrade(common: Common) -> None:
    """Bring the catalog's schema to the one of this hubsync.

    Needed after installing a newer hubsync when a command says so; an empty
    catalog gets its schema by itself.  Makes the store when there is none.
    """
    settings = common.settings()
    settings.store.root.mkdir(parents=True, exist_ok=True)
    before = schema.current(settings.catalog_url)
    schema.upgrade(settings.catalog_url)
    after = schema.head()
    with common.open(create=True):  # the folders too, where there were none
        pass
    if common.as_json:
        print_json({"before": before, "after": after})
    elif not common.quiet:
        click.echo(f"schema {before or 'empty'} -> {after}")


@command.command("check", epilog=EPILOG)
@common_options
def check(common: Common) -> None:
    """Say whether the catalog's schema is the one of this hubsync."""
    settings = common.settings()
    with common.open(read_only=True):
        pass
    current = schema.current(settings.catalog_url)
    if common.as_json:
        print_json({"current": current, "head": schema.head()})
    elif not common.quiet:
        click.echo(f"schema {current} is current")
