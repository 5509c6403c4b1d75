"""``hubsync pull``."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import click

from hubsync.cli.common import (
    Common,
    common_options,
    find_snapshot,
    type_option,
    understand,
)
from hubsync.cli.events import EventProgress
from hubsync.cli.exits import exit_status
from hubsync.cli.output import say
from hubsync.cli.progress import AnyProgress, progress_for, progress_option
from hubsync.cli.pull_report import as_json, print_pull
from hubsync.cli.running import run_to_end
from hubsync.cli.scratch import planning
from hubsync.model.errors import ExitCode, HubsyncError, OfflineError
from hubsync.sync.planner import Selection
from hubsync.sync.request import PullRequest, PullResult
from hubsync.wiring import App

LOCK_WAIT_S = 30.0

EPILOG = """\b
EXAMPLES
  hubsync pull Qwen/Qwen3-0.6B
  hubsync pull datasets/rajpurkar/squad@refs/convert/parquet
  hubsync pull org/model@v1.0 --include '*.safetensors' --include '*.json'
  hubsync pull org/model --skip-smudge        LFS files stay pointers
  hubsync pull org/model --checkout ./model   plain files in a folder
  hubsync pull org/model --dry-run            what it would fetch

""" + exit_status(
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.NOT_ALLOWED,
    ExitCode.UNAVAILABLE,
    ExitCode.INTEGRITY,
    ExitCode.NO_ROOM,
    ExitCode.PARTLY,
    ExitCode.BUSY,
    ExitCode.OFFLINE,
    ExitCode.INTERRUPTED,
)


@click.command("pull", epilog=EPILOG)
@click.argument("repos", nargs=-1, required=True, metavar="REPO...")
@type_option
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Fetch only files that match; may be repeated.",
)
@click.option(
    "--exclude",
    multiple=True,
    metavar="GLOB",
    help="Leave out files that match; may be repeated.",
)
@click.option(
    "--skip-smudge",
    is_flag=True,
    help="Record everything, fetch only what is not in LFS.",
)
@click.option(
    "--checkout",
    "checkout_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the files into this folder.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="List the tree again; accept a repo that was replaced by another.",
)
@click.option(
    "--offline",
    is_flag=True,
    help="Send nothing; answer from the store. [env: HF_HUB_OFFLINE]",
)
@progress_option
@common_options
def command(
    common: Common,
    *,
    repos: tuple[str, ...],
    repo_type: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    skip_smudge: bool,
    checkout_dir: Path | None,
    dry_run: bool,
    force: bool,
    offline: bool,
    progress_mode: str,
) -> int:
    """Bring each REPO at one revision into the store, every byte verified.

    Prints the snapshot's folder, which has the layout of the Hugging Face
    cache.  A pull that was interrupted goes on where it was.
    """
    if checkout_dir is not None and len(repos) > 1:
        raise click.UsageError("--checkout takes one REPO: name one folder a repo")
    offline = offline or _offline_variable() is not None
    done, failures = 0, []
    with _open(common, dry_run=dry_run, offline=offline) as app:
        requests = []
        for text in repos:
            arg = understand(app.settings, text, repo_type)
            repo = arg.on(app.settings.default_upstream)
            selection = Selection(include, exclude, arg.path, skip_smudge)
            requests.append(
                PullRequest(repo, arg.revision, selection, force, offline, dry_run)
            )
        for request in requests:
            progress = progress_for(common, progress_mode, request.repo.path)
            try:
                result = _pull(app, request, progress)
                if checkout_dir is not None and not dry_run:
                    _check_out(app, request, result, checkout_dir)
            except HubsyncError as error:
                if isinstance(progress, EventProgress):
                    progress.failed(error)
                elif len(requests) == 1:
                    raise
                else:
                    _say_error(request, error)
                failures.append(error)
                continue
            done += 1
            # `| head` has seen enough; the other repos are still wanted.
            with contextlib.suppress(BrokenPipeError):
                print_pull(common, request, result)
            if isinstance(progress, EventProgress):
                progress.done(as_json(result))
    if failures and done:
        return ExitCode.PARTLY
    return failures[0].exit_code if failures else ExitCode.DONE


@contextlib.contextmanager
def _open(common: Common, *, dry_run: bool, offline: bool) -> Iterator[App]:
    """The store; a dry run makes none and writes to none."""
    if not dry_run:
        # What is held can be answered from where nothing can be written.
        with common.open(create=True, or_read_only=offline) as app:
            yield app
    else:
        with planning(common) as app:
            yield app


def _offline_variable() -> str | None:
    """The one that says so to the Hub's clients, and read as they read it."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if said := os.environ.get(name):
            return name if said.upper() in {"1", "ON", "YES", "TRUE"} else None
    return None


def _say_error(request: PullRequest, error: HubsyncError) -> None:
    named = str(request.repo) in str(error)
    which = "" if named else f"{request.repo}: "
    say(f"hubsync: error: {which}{error}")
    if error.hint:
        say(f"hubsync: hint: {error.hint}")


def _pull(app: App, request: PullRequest, progress: AnyProgress) -> PullResult:
    try:
        if request.dry_run:
            return run_to_end(app.puller(progress).pull(request))
        with app.root.lock_reading(LOCK_WAIT_S):
            return run_to_end(app.puller(progress).pull(request))
    except OfflineError as error:
        if name := _offline_variable():
            error.hint = f"{error.hint or ''} {name} is set, which means --offline."
        raise
    finally:
        progress.close()


def _check_out(
    app: App, request: PullRequest, result: PullResult, folder: Path
) -> None:
    text = f"{request.repo}@{result.commit.oid}"
    row, snapshot = find_snapshot(app, text, None)
    wanted = [
        held
        for held in app.catalog.entries(snapshot)
        if request.selection.wants(held.entry.path)
    ]
    report = app.write_folder(folder, wanted, skip_smudge=request.selection.skip_smudge)
    say(f"wrote {report.files} files of {row.repo} into {folder}")
