"""``hubsync gc``."""

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json
from hubsync.model.errors import ExitCode
from hubsync.model.units import format_size
from hubsync.retention.gc import collect

EPILOG = exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.BUSY)


@click.command("gc", epilog=EPILOG)
@click.option("--dry-run", is_flag=True, help="Say what would go; delete nothing.")
@common_options
def command(common: Common, dry_run: bool) -> None:
    """Delete blobs that no recorded snapshot needs, and old leftovers.

    Waits for nobody: while a pull, add or forget is running it ends with exit
    status 9.  Serving goes on beside it.
    """
    with common.open() as app, app.root.lock_exclusive():
        report = collect(
            app.catalog,
            app.blobs,
            dry_run=dry_run,
            clean_leftovers=app.root.clean_leftovers,
        )
    if common.as_json:
        print_json(
            {
                "blobs": report.blobs,
                "bytes": report.bytes,
                "strays": report.strays,
                "dry_run": dry_run,
            }
        )
        return
    verb = "would delete" if dry_run else "deleted"
    click.echo(
        f"{verb} {report.blobs + report.strays} blobs, {format_size(report.bytes)}"
    )
