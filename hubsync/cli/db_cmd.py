"""``hubsync db``."""

import click

from hubsync.catalog import schema
from hubsync.cli.common import Common, common_options
from hubsync.cli.db_rebuild import rebuild_command
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.model.errors import ExitCode
from hubsync.sync.publish import write_missing
from hubsync.sync.record_check import RecordCheck, check_records
from hubsync.wiring import VIEWS_WAIT_S, refuse_lost_catalog

EPILOG = exit_status(
    ExitCode.FAILED, ExitCode.USAGE, ExitCode.UNAVAILABLE, ExitCode.BUSY
)
CHECK_EPILOG = """\b
EXAMPLES
  hubsync db check && hubsync gc      in a nightly job

""" + exit_status(
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.UNAVAILABLE,
    ExitCode.INTEGRITY,
)


@click.group("db", epilog=EPILOG)
def command() -> None:
    """The catalog: its schema, and making it again from the store."""


command.add_command(rebuild_command)


@command.command("upgrade", epilog=EPILOG)
@common_options
def upgrade(common: Common) -> None:
    """Bring the catalog's schema to the one of this hubsync.

    Needed after installing a newer hubsync when a command says so; an empty
    catalog gets its schema by itself.  Makes the store when there is none, and
    the records of revisions that have none.
    """
    settings = common.settings()
    settings.store.root.mkdir(parents=True, exist_ok=True)
    refuse_lost_catalog(settings)
    before = schema.current(settings.catalog_url)
    schema.upgrade(settings.catalog_url)
    after = schema.head()
    with (
        common.open(create=True) as app,  # the folders too, where there were none
        app.root.lock_shared(LOCK_WAIT_S),
        app.root.lock_views(VIEWS_WAIT_S),
    ):
        # A store from before there were records must not be without for long.
        written = write_missing(app.catalog, app.records)
    if common.as_json:
        print_json({"before": before, "after": after, "records_written": written})
    elif not common.quiet:
        click.echo(f"schema {before or 'empty'} -> {after}")
        if written:
            say(f"wrote the records of {written} revisions that had none")


@command.command("check", epilog=CHECK_EPILOG)
@common_options
def check(common: Common) -> int:
    """Say whether the catalog is current, and could be made again.

    Its schema is to be the one of this hubsync.  Every record in the store is
    read: from them `hubsync db rebuild` makes a lost catalog again.
    """
    settings = common.settings()
    with common.open(read_only=True) as app:
        found = check_records(app.catalog, app.records)
    current = schema.current(settings.catalog_url)
    if common.as_json:
        print_json(
            {
                "current": current,
                "head": schema.head(),
                "revisions": found.revisions,
                "without_record": found.without_record,
                "unknown": found.unknown,
                "damaged_records": list(found.damaged),
            }
        )
    elif not common.quiet:
        recorded = found.revisions - found.without_record
        click.echo(f"schema {current} is current")
        click.echo(f"{recorded} of {found.revisions} revisions have a record")
    _say_what_to_do(found)
    if found.damaged:
        return ExitCode.INTEGRITY
    return ExitCode.FAILED if found.unknown else ExitCode.DONE


def _say_what_to_do(found: RecordCheck) -> None:
    for problem in found.damaged:
        say(f"hubsync: error: {problem}")
    if found.unknown:
        say(
            f"hubsync: error: the catalog is an old one: {found.unknown} revisions "
            "have records and are not in it: hubsync db rebuild --adopt"
        )
    if found.without_record:
        say("write the missing records with: hubsync db upgrade")
    elif found.damaged:
        say("pull again what a damaged record was of, or delete it")
