"""``hubsync forget``."""

import click

from hubsync.cli.common import (
    Common,
    common_options,
    find_held,
    find_snapshot,
    require_one,
    type_option,
)
from hubsync.cli.exits import exit_status
from hubsync.cli.forget_policy import forget_by_policy
from hubsync.cli.output import print_json, say
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.model.errors import ExitCode
from hubsync.retention.forget import forget

EPILOG = """\b
EXAMPLES
  hubsync forget org/model@1a2b3c4    one version
  hubsync forget org/model            everything recorded of it
  hubsync forget --policy --dry-run   what keep rules leave, and why
  hubsync forget --policy             forget the rest
  hubsync gc                          then free the room

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.NO_ROOM, ExitCode.BUSY)


@click.command("forget", epilog=EPILOG)
@click.argument("repo", metavar="[REPO[@REV]]", required=False)
@type_option
@click.option(
    "--policy",
    is_flag=True,
    help="Versions that no mirror's keep rule keeps, of all repos.",
)
@click.option("--dry-run", is_flag=True, help="With --policy: say what and why.")
@common_options
def command(
    common: Common,
    *,
    repo: str | None,
    repo_type: str | None,
    policy: bool,
    dry_run: bool,
) -> None:
    """Drop a recorded snapshot, or (without @REV) the whole repo.

    Refs that point to the snapshot go with it.  No bytes are deleted: run
    `hubsync gc` for that.  Pulls go on beside it; one that is about to publish
    the very snapshot publishes it again.
    """
    if (repo is None) != policy:
        raise click.UsageError("name a REPO, or give --policy")
    if dry_run and not policy:
        raise click.UsageError("--dry-run belongs to --policy")
    if repo is None:
        forget_by_policy(common, dry_run=dry_run)
    else:
        _forget(common, repo, repo_type)


def _forget(common: Common, repo: str, repo_type: str | None) -> None:
    with (
        common.open(frees_room=True) as app,
        app.root.lock_shared(LOCK_WAIT_S),
        app.root.lock_views(LOCK_WAIT_S, alone=True),
    ):
        require_one(app, repo, repo_type)
        row, arg = find_held(app, repo, repo_type)
        snapshot = None
        if arg.revision is not None:
            row, snapshot = find_snapshot(app, repo, repo_type)
        forgotten = forget(app.catalog, app.records, app.views, row, snapshot)
    if common.as_json:
        print_json(
            {
                "upstream": row.repo.upstream,
                "repo_type": row.repo.repo_type.value,
                "repo": row.repo.name,
                "commits": list(forgotten.commits),
                "refs": [ref.full for ref in forgotten.refs],
                "whole_repo": forgotten.whole_repo,
            }
        )
    elif not common.quiet:
        what = "the whole repo" if forgotten.whole_repo else "the snapshot"
        say(
            f"forgot {what} {row.repo}: {len(forgotten.commits)} commits, "
            f"{len(forgotten.refs)} refs; free the room with: hubsync gc"
        )
