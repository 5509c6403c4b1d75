"""``hubsync db rebuild``."""

import time
from pathlib import Path

import click

from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.catalog import Catalog
from hubsync.catalog.errors import CatalogBusyError
from hubsync.catalog.sqlite import who_has_open
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import print_json, say
from hubsync.config.schema import Settings
from hubsync.model.errors import ExitCode, UsageError
from hubsync.model.units import format_size
from hubsync.ports.blobs import HeldBlob
from hubsync.retention.relay import lay_out_again
from hubsync.retention.verify import verify as verify_blobs
from hubsync.sync.rebuild import RebuildReport, rebuild
from hubsync.wiring import App, open_root

LOCK_WAIT_S = 30.0

EPILOG = """\b
EXAMPLES
  hubsync db rebuild            catalog.db is gone
  hubsync db rebuild --force    it is damaged: it is kept as catalog.db.*.bak
  hubsync db rebuild --adopt    an old backup of catalog.db was put back

""" + exit_status(
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.UNAVAILABLE,
    ExitCode.INTEGRITY,
    ExitCode.PARTLY,
    ExitCode.BUSY,
)


@click.command("rebuild", epilog=EPILOG)
@click.option(
    "--adopt",
    is_flag=True,
    help="Add what the store's records know and the catalog lacks.",
)
@click.option(
    "--force", is_flag=True, help="Put an SQLite catalog aside and begin anew."
)
@click.option(
    "--verify", is_flag=True, help="Read every held blob and compare its digest."
)
@common_options
def rebuild_command(common: Common, *, adopt: bool, force: bool, verify: bool) -> int:
    """Make the catalog again from the records that the store keeps.

    For a catalog that is lost, damaged, or older than the store.  Every recorded
    commit, its tree and the refs come back, and which files are held; the log of
    where refs pointed before does not.  Nothing else may be at work in the store.

    If it is interrupted, go on with --adopt.
    """
    if adopt and force:
        raise click.UsageError("--adopt keeps the catalog, --force puts it aside")
    settings = common.settings()
    with open_root(settings).lock_exclusive(LOCK_WAIT_S):
        if force:
            _put_aside(settings)
        elif not adopt:
            _require_empty(settings)
        with common.open(create=True, rebuild=True) as app:
            report = rebuild(
                app.catalog,
                app.blobs,
                app.records,
                only_unknown=adopt,
                note=lambda text: None if common.quiet else say(f"hubsync: {text}"),
            )
            if not app.catalog.commit_names() and next(app.blobs.digests(), None):
                report.problems.append(
                    "the store has blobs, and no record says what they are: pull "
                    "again what you want of them before the next gc, which deletes "
                    "the rest; large files that are there are not fetched again"
                )
            _lay_out(app)
            if verify:
                _verify(app, report)
    _print(common, report)
    return ExitCode.PARTLY if report.problems else ExitCode.DONE


def _put_aside(settings: Settings) -> None:
    path = CatalogAddress.parse(settings.catalog_url).path
    if path is None:
        raise UsageError(
            "a catalog in PostgreSQL is not put aside",
            hint="Make an empty database and name it in [catalog] url.",
        )
    pid = who_has_open(path)
    if pid is not None:
        raise CatalogBusyError(
            f"process {pid} has the catalog {path} open and would go on with the "
            "one that is put aside",
            hint="Stop it (hubsync serve, most likely) and repeat.",
        )
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    while Path(f"{path}.{stamp}.bak").exists():
        stamp += "a"  # twice within a second: nothing is ever written over
    # The log belongs to the database: without it, its last commits are gone.  The
    # index of the log does not, whoever opens the two makes it again.
    Path(f"{path}-shm").unlink(missing_ok=True)
    log = Path(f"{path}-wal")
    if log.exists() and not log.stat().st_size:
        log.unlink()
    for part in (path, log):
        if part.exists():
            suffix = part.name.removeprefix(path.name)
            part.rename(f"{path}.{stamp}.bak{suffix}")


def _require_empty(settings: Settings) -> None:
    path = CatalogAddress.parse(settings.catalog_url).path
    if path is not None and not path.exists():
        return
    where = CatalogAddress.parse(settings.catalog_url)
    with Catalog.open(settings.catalog_url) as catalog:
        if catalog.repos():
            raise UsageError(
                f"the catalog {where} is not empty",
                hint="Add what it lacks with --adopt, or put it aside with --force.",
            )


def _verify(app: App, report: RebuildReport) -> None:
    """What is damaged counts as not held: the size alone does not tell."""
    held = list(app.catalog.all_held())
    for damage in verify_blobs(
        app.catalog, app.blobs, app.views, held, _ignore
    ).damaged:
        report.problems.append(f"{damage.name} is {damage.what}: pull it again")


def _ignore(_: HeldBlob) -> None:
    """Who rebuilds a catalog wants to know what is wrong, not how far it is."""


def _lay_out(app: App) -> None:
    for row in app.catalog.repos():
        for snapshot in app.catalog.snapshots(row):
            lay_out_again(app.catalog, app.views, row, snapshot)


def _print(common: Common, report: RebuildReport) -> None:
    for problem in report.problems:
        say(f"hubsync: error: {problem}")
    if common.as_json:
        print_json(
            {
                "repos": report.repos,
                "commits": report.commits,
                "refs": report.refs,
                "blobs": report.blobs,
                "bytes": report.bytes,
                "hashed": report.hashed,
                "problems": report.problems,
            }
        )
    elif not common.quiet:
        click.echo(
            f"{report.repos} repos, {report.commits} commits, {report.refs} refs, "
            f"{report.blobs} blobs ({format_size(report.bytes)}) written down"
        )
