"""``hubsync gc``."""

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.model.errors import ExitCode, UsageError
from hubsync.model.units import format_size, parse_duration
from hubsync.retention.gc import GcOptions, GcReport

EPILOG = exit_status(
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.INTEGRITY,
    ExitCode.NO_ROOM,
    ExitCode.BUSY,
)


# Click has a type here since 8.4 only.
class Duration(click.ParamType):  # type: ignore[type-arg]
    """``30s``, ``24h``, ``14d``."""

    name = "duration"

    def convert(
        self,
        value: str | float,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        try:
            return parse_duration(value)
        except UsageError as error:
            self.fail(f"{error}. {error.hint}", param, ctx)


@click.command("gc", epilog=EPILOG)
@click.option("--dry-run", is_flag=True, help="Say what would go; delete nothing.")
@click.option(
    "--grace",
    type=Duration(),
    default=0.0,
    metavar="DURATION",
    help="Keep what came in within this time: 30m, 24h, 7d.  Default: 0s.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Also where the catalog is new and knows nothing of the store.",
)
@common_options
def command(common: Common, dry_run: bool, grace: float, force: bool) -> None:
    """Delete blobs that no recorded snapshot needs, and old leftovers.

    Runs beside pulls, adds, forgets and other gcs, and stops none of them: what
    they have brought in and not yet published stays.
    """
    opened = common.open(frees_room=not dry_run, or_read_only=dry_run)
    with opened as app, app.root.lock_reading(LOCK_WAIT_S):
        options = GcOptions(grace, app.settings.store.trash_keep)
        report = app.collect(options, dry_run=dry_run, force=force)
    if common.as_json:
        print_json(
            {
                "blobs": report.blobs,
                "bytes": report.bytes,
                "strays": report.strays,
                "adoptable": report.adoptable,
                "put_back": report.put_back,
                "leases": len(report.running),
                "running": list(report.running),
                "dry_run": dry_run,
            }
        )
        return
    _print(common, report, dry_run=dry_run)


def _print(common: Common, report: GcReport, *, dry_run: bool) -> None:
    verb = "would delete" if dry_run else "deleted"
    click.echo(
        f"{verb} {report.blobs + report.strays} blobs, {format_size(report.bytes)}"
    )
    if common.quiet:
        return
    if report.put_back:
        did = "would put back" if dry_run else "put back"
        say(f"{did} {report.put_back} blobs from the trash: they are needed")
    for who in report.running:
        say(f"kept what is being brought in by: {who}")
    if report.adoptable:
        say(
            f"kept {report.adoptable} blobs that revision records name and the "
            "catalog does not: bring them back with: hubsync db rebuild --adopt"
        )
