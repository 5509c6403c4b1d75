"""``hubsync add``."""

import getpass
from collections.abc import Mapping
from pathlib import Path

import click

from hubsync.cli.common import Common, common_options, type_option, understand
from hubsync.cli.events import EventProgress
from hubsync.cli.exits import exit_status
from hubsync.cli.output import in_events, print_json, say
from hubsync.cli.progress import progress_for, progress_option
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.model.errors import ExitCode
from hubsync.model.repo import LOCAL
from hubsync.model.revision import DEFAULT_BRANCH, RefName, check_branch
from hubsync.model.units import format_size
from hubsync.sync.add import AddRequest, AddResult, add_folder
from hubsync.sync.pull import lay_out
from hubsync.wiring import VIEWS_WAIT_S

EPILOG = """\b
EXAMPLES
  hubsync add ./my-model acme/my-model -m "first training run"
  hubsync add ./corpus datasets/acme/corpus
  hubsync add ./my-model acme/my-model --branch experiment

The commit's id is computed from the files and the message alone, as git would:
the same folder gives the same commit everywhere. LFS files are the ones that
.gitattributes names (the Hub's default list when the folder has none), binary
ones, and those over 10 MiB.

""" + exit_status(
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.INTEGRITY,
    ExitCode.NO_ROOM,
    ExitCode.BUSY,
    ExitCode.INTERRUPTED,
)


@click.command("add", epilog=EPILOG)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("repo", metavar="REPO")
@type_option
@click.option("-m", "--message", default="", help="Title of the commit.")
@click.option("--author", default=None, help="Who made it. [default: this user]")
@click.option(
    "--branch", default=DEFAULT_BRANCH, show_default=True, help="Branch to move."
)
@progress_option
@common_options
def command(
    common: Common,
    *,
    folder: Path,
    repo: str,
    repo_type: str | None,
    message: str,
    author: str | None,
    branch: str,
    progress_mode: str,
) -> None:
    """Record the files in DIR as the new version of REPO.

    For models of your own: the mirror serves them like any other, and another
    hubsync can pull them from it.
    """
    settings = common.settings()
    arg = understand(settings, repo, repo_type)
    if arg.upstream not in (None, LOCAL):
        raise click.UsageError(
            f"{arg.upstream} is an upstream; what is added belongs to "
            f"{LOCAL}: write {arg.repo_type.url_prefix}{arg.name}"
        )
    if arg.revision is not None:
        raise click.UsageError("name the branch with --branch, not after '@'")
    check_branch(branch)
    request = AddRequest(
        folder=folder,
        repo=arg.on(LOCAL),
        message=message,
        author=_user() if author is None else author,
        branch=branch,
    )
    progress = progress_for(common, progress_mode, str(folder))
    with common.open(create=True) as app, app.root.lock_shared(LOCK_WAIT_S):
        app.require_apart(
            folder,
            hint="What the store holds is added from a checkout of it: "
            "hubsync checkout REPO DIR",
        )
        try:
            result = add_folder(
                request,
                app.catalog,
                app.blobs,
                app.records,
                progress,
                lock_views=lambda: app.root.lock_views(VIEWS_WAIT_S),
            )
        finally:
            progress.close()
        published = result.published
        with app.root.lock_views(VIEWS_WAIT_S):
            path = lay_out(
                app.catalog,
                app.views,
                published.repo,
                published.snapshot,
                [RefName.branch(branch)],
            )
    answer = _json(request, result, path)
    if isinstance(progress, EventProgress):
        progress.done(answer)
    if common.as_json:
        print_json(answer)
    else:
        _print(common, request, result, path)


def _json(
    request: AddRequest, result: AddResult, path: Path | None
) -> Mapping[str, object]:
    published = result.published
    return {
        "upstream": LOCAL,
        "repo_type": request.repo.repo_type.value,
        "repo": request.repo.name,
        "revision": request.branch,
        "commit": published.snapshot.commit.oid,
        "new_commit": published.new_commit,
        "path": str(path) if path else None,
        "files": result.files,
        "lfs_files": result.lfs_files,
        "bytes": result.bytes,
        "bytes_stored": result.bytes_stored,
    }


def _print(
    common: Common, request: AddRequest, result: AddResult, path: Path | None
) -> None:
    published = result.published
    if not (common.quiet or in_events()):
        what = "recorded" if published.new_commit else "was recorded before"
        oid = published.snapshot.commit.oid[:10]
        say(
            f"{request.repo} {request.branch} = {oid} {what}: "
            f"{result.files} files ({result.lfs_files} LFS), "
            f"{format_size(result.bytes)}, {format_size(result.bytes_stored)} new"
        )
    if path is not None:
        click.echo(str(path))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""
