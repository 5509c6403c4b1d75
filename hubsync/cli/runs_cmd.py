"""``hubsync runs``."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from hubsync.catalog.runs import RunRepoRow, RunRow, RunState
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import iso, print_json, print_table, say
from hubsync.model.errors import ExitCode, NotHeldError, UsageError
from hubsync.model.units import format_size

LIMIT = 50
_NUMBER_MAX = 2**63 - 1  # the databases' largest

_ENDED = {
    RunState.RUNNING: "goes on",
    RunState.SUCCEEDED: "succeeded",
    RunState.PARTIAL: "succeeded in part",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "was cancelled",
}

EPILOG = """\b
EXAMPLES
  hubsync runs
  hubsync runs --mirror nightly --limit 1 --json
  hubsync runs 42                 what run 42 met, repo by repo

\b
STATE
  running    it goes on
  succeeded  every repo is as upstream has it
  partial    some repos failed: hubsync runs RUN names them
  failed     no repo came through, or the process was killed
  cancelled  somebody stopped it

""" + exit_status(ExitCode.USAGE, ExitCode.NOT_FOUND)


@click.command("runs", epilog=EPILOG)
@click.argument(
    "run", required=False, metavar="[RUN]", type=click.IntRange(1, _NUMBER_MAX)
)
@click.option("--mirror", metavar="NAME", help="Only runs of this mirror.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help=f"At most the newest N. [default: {LIMIT}]",
)
@common_options
def command(
    common: Common, run: int | None, mirror: str | None, limit: int | None
) -> None:
    """What mirrors did, newest run first; with RUN, what that one met.

    Of a run are listed the repos that changed or failed, not those that were as
    before.
    """
    if run is None:
        _print_runs(common, mirror, min(limit or LIMIT, _NUMBER_MAX))
    elif mirror is not None or limit is not None:
        raise UsageError("RUN is one run already: leave out --mirror and --limit")
    else:
        _print_repos(common, run)


def _print_runs(common: Common, mirror: str | None, limit: int) -> None:
    with common.open(read_only=True) as app:
        rows = app.catalog.runs.list(mirror, limit)
    if not rows and not common.quiet:
        say("no run is recorded" + (f" of mirror {mirror}" if mirror else ""))
    if common.as_json:
        for row in rows:
            print_json(_run_as_json(row))
    elif common.quiet:
        for row in rows:
            click.echo(row.id)
    else:
        headers = ["RUN", "MIRROR", "TRIGGER", "STARTED", "ENDED", "STATE", "REPOS"]
        headers += ["CHANGED", "FAILED", "FETCHED", "ERROR"]
        print_table(headers, map(_run_cells, rows))


def _print_repos(common: Common, run: int) -> None:
    with common.open(read_only=True) as app:
        row = app.catalog.runs.find(run)
        if row is None:
            raise NotHeldError(
                f"there is no run {run}", hint="See their numbers: hubsync runs"
            )
        repos = app.catalog.runs.repos(run)
    if common.as_json:
        for repo in repos:
            print_json(_repo_as_json(run, repo))
    elif common.quiet:
        for repo in repos:
            click.echo(_revision(repo))
    else:
        headers = ["REPO", "OUTCOME", "COMMIT", "FILES", "FETCHED", "REUSED", "ERROR"]
        print_table(headers, map(_repo_cells, repos))
    if not common.quiet:
        say(_summary(row, repos))


def _summary(row: RunRow, repos: Sequence[RunRepoRow]) -> str:
    met = f"{len(repos)} listed" if repos else "none of them changed or failed"
    text = (
        f"run {row.id} of {row.mirror} {_ENDED[row.state]}: "
        f"{row.counters.repos_checked} of {row.counters.repos_selected} repos "
        f"looked at, {met}"
    )
    return f"{text}; {row.error}" if row.error else text


def _run_as_json(row: RunRow) -> dict[str, object]:
    return {
        "run": row.id,
        "mirror": row.mirror,
        "trigger": row.trigger,
        "started_at": iso(row.started_at),
        "ended_at": iso(row.ended_at),
        "state": row.state.value,
        **asdict(row.counters),
        "waited_s": round(row.counters.waited_s, 3),
        "error": row.error,
    }


def _run_cells(row: RunRow) -> list[str]:
    counters = row.counters
    return [
        str(row.id),
        row.mirror,
        row.trigger,
        iso(row.started_at) or "",
        iso(row.ended_at) or "-",
        row.state.value,
        f"{counters.repos_checked}/{counters.repos_selected}",
        str(counters.repos_changed),
        str(counters.repos_failed),
        format_size(counters.bytes_fetched),
        _first_line(row.error),
    ]


def _repo_as_json(run: int, row: RunRepoRow) -> dict[str, object]:
    return {
        "run": run,
        "upstream": row.repo.upstream,
        "repo_type": row.repo.repo_type.value,
        "repo": row.repo.name,
        "revision": row.revision,
        "outcome": row.outcome.value,
        "commit": row.commit,
        "files_fetched": row.files_fetched,
        "bytes_fetched": row.bytes_fetched,
        "bytes_reused": row.bytes_reused,
        "requests": row.requests,
        "error": row.error,
        "exit_code": row.exit_code,
    }


def _repo_cells(row: RunRepoRow) -> list[str]:
    return [
        _revision(row),
        row.outcome.value,
        row.commit[:10] if row.commit else "-",
        str(row.files_fetched),
        format_size(row.bytes_fetched),
        format_size(row.bytes_reused),
        _first_line(row.error),
    ]


def _revision(row: RunRepoRow) -> str:
    return f"{row.repo}@{row.revision}"


def _first_line(error: str | None) -> str:
    return error.strip().partition("\n")[0] if error else "-"
