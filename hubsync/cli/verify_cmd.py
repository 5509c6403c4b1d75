"""``hubsync verify``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import click

from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.cli.common import (
    Common,
    common_options,
    find_held,
    find_snapshot,
    type_option,
)
from hubsync.cli.events import EventProgress
from hubsync.cli.exits import exit_status
from hubsync.cli.output import in_events, print_json, say
from hubsync.cli.progress import AnyProgress, progress_for, progress_option
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.cli.repair import repair_all
from hubsync.cli.verify_progress import HashingProgress
from hubsync.model.errors import ExitCode
from hubsync.model.repo import LOCAL
from hubsync.model.units import format_size
from hubsync.retention.verify import (
    Damage,
    VerifyReport,
    damaged_before,
    held_by,
    verify,
)
from hubsync.wiring import App

EPILOG = """\b
EXAMPLES
  hubsync verify org/model          every recorded version of it
  hubsync verify org/model@v1.0     one version
  hubsync verify --all --repair     the store; fetch again what is damaged

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.INTEGRITY, ExitCode.BUSY)


@click.command("verify", epilog=EPILOG)
@click.argument("repos", nargs=-1, metavar="[REPO[@REV]]...")
@type_option
@click.option("--all", "everything", is_flag=True, help="Every blob in the store.")
@click.option(
    "--repair", is_flag=True, help="Fetch again what is damaged, also since earlier."
)
@progress_option
@common_options
def command(
    common: Common,
    *,
    repos: tuple[str, ...],
    repo_type: str | None,
    everything: bool,
    repair: bool,
    progress_mode: str,
) -> int:
    """Read held files again and compare them with their digests.

    A damaged or missing blob is put into quarantine and is served to nobody;
    its files count as not held, and every verify names them, until they are
    repaired or pulled again.
    """
    if repos and everything:
        raise click.UsageError(
            "--all is every blob in the store: leave out REPO for that, or --all "
            "for what you named"
        )
    if not (repos or everything):
        raise click.UsageError("name at least one REPO, or say --all for every blob")
    progress = progress_for(common, progress_mode, "verify")
    # What is repaired has to be written.
    opened = common.open(or_read_only=not repair)
    with opened as app, app.root.lock_reading(LOCK_WAIT_S):
        if app.root.read_only:
            say(
                "hubsync: warning: the store is read-only: damage is told, and neither "
                "put aside nor remembered"
            )
        snapshots = None if everything else _snapshots(app, repos, repo_type)
        report = _verify(app, progress, snapshots)
        mended: set[str] = set()
        if repair:
            mended = repair_all(
                app, report.damaged, _progress_of(common, progress_mode)
            )
    _print(common, report, mended)
    if isinstance(progress, EventProgress):
        progress.done(_json(report, mended))
    bad = [one for one in report.damaged if one.name not in mended]
    return ExitCode.INTEGRITY if bad else ExitCode.DONE


def _progress_of(common: Common, progress_mode: str) -> Callable[[str], AnyProgress]:
    return lambda path: progress_for(common, progress_mode, path)


def _snapshots(
    app: App, repos: Sequence[str], repo_type: str | None
) -> list[SnapshotRow]:
    found: list[SnapshotRow] = []
    for text in repos:
        row, arg = find_held(app, text, repo_type)
        if arg.revision is None:
            found += app.catalog.snapshots(row)
        else:
            found.append(find_snapshot(app, text, repo_type)[1])
    return found


def _verify(
    app: App, progress: AnyProgress, snapshots: Sequence[SnapshotRow] | None
) -> VerifyReport:
    wanted = (
        list(app.catalog.all_held())
        if snapshots is None
        else held_by(app.catalog, snapshots)
    )
    progress.plan(len(wanted), sum(blob.size_bytes for blob in wanted))
    hashing = HashingProgress(progress)
    try:
        report = verify(
            app.catalog,
            app.blobs,
            app.views,
            wanted,
            hashing.checked,
            hashed=hashing.hashed,
            lock_views=app.lock_views_alone,
            read_only=app.root.read_only,
        )
    finally:
        progress.close()
    before = damaged_before(app.catalog, snapshots, report.damaged)
    return replace(report, damaged=(*report.damaged, *before))


def _print(common: Common, report: VerifyReport, mended: set[str]) -> None:
    for damage in report.damaged:
        _print_damage(common, damage, repaired=damage.name in mended)
    if common.as_json:
        print_json(_json(report, mended))
    elif not (common.quiet or in_events()):
        say(
            f"verified {report.blobs} blobs, {format_size(report.bytes)}: "
            f"{len(report.damaged)} damaged, {len(mended)} repaired"
        )


def _json(report: VerifyReport, mended: set[str]) -> Mapping[str, object]:
    return {
        "blobs": report.blobs,
        "bytes": report.bytes,
        "damaged": len(report.damaged),
        "repaired": len(mended),
    }


def _print_damage(common: Common, damage: Damage, *, repaired: bool) -> None:
    files = [f"{row.repo}: {path}" for row, _, path in damage.files]
    if common.as_json:
        print_json(
            {
                "digest": damage.name,
                "found": damage.what,
                "files": files,
                "repaired": repaired,
            }
        )
        return
    say(f"hubsync: damaged: {damage.name} is {damage.what}")
    for file in files:
        say(f"    {file}")
    if not repaired:
        for remedy in sorted({_remedy(row, snap) for row, snap, _ in damage.files}):
            say(f"    {remedy}")


def _remedy(row: RepoRow, snapshot: SnapshotRow) -> str:
    if row.repo.upstream == LOCAL:
        return f"add it again: hubsync add DIR {row.repo.name}"
    place = f"{row.repo}@{snapshot.commit.oid[:10]}"
    return f"fetch it again with: hubsync pull {place}"
