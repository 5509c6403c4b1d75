"""``hubsync plan``."""

from collections.abc import Mapping, Sequence

import click

from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.mirror_report import exit_code_of, outcome_json, run_json, wanted
from hubsync.cli.output import print_json, print_table, say
from hubsync.cli.running import run_to_end
from hubsync.cli.scratch import planning
from hubsync.model.errors import ExitCode
from hubsync.model.units import format_size
from hubsync.ports.progress import SilentProgress
from hubsync.sync.freshness import Verdict
from hubsync.sync.mirror import Outcome, Report
from hubsync.sync.rules import Rule
from hubsync.wiring import App

REQUESTS_KNOWN, REQUESTS_NEW = 2, 3  # before the first file of a repo

EPILOG = """\b
EXAMPLES
  hubsync plan                  every mirror of the configuration
  hubsync plan qwen-small       this one
  hubsync plan --json           for scripts: a line a repo, then one a mirror

""" + exit_status(
    ExitCode.FAILED,
    ExitCode.USAGE,
    ExitCode.NOT_FOUND,
    ExitCode.NOT_ALLOWED,
    ExitCode.UNAVAILABLE,
    ExitCode.PARTLY,
    ExitCode.INTERRUPTED,
)


@click.command("plan", epilog=EPILOG)
@click.argument("mirrors", nargs=-1, metavar="[MIRROR]...")
@common_options
def command(common: Common, *, mirrors: tuple[str, ...]) -> int:
    """What `hubsync sync` would do with every repo, and why; changes nothing.

    Files and bytes to fetch and those held already, and the requests that it costs:
    those sent to plan this, and those that fetching takes.
    """
    return print_plans(common, wanted(common, mirrors))


def print_plans(common: Common, rules: Sequence[Rule]) -> int:
    """The plan of each rule; the exit code of all."""
    with planning(common) as app:
        reports = run_to_end(_plan(app, rules))
    for report in reports:
        if common.as_json:
            for outcome in report.outcomes:
                print_json(_planned_json(report.rule, outcome))
            print_json({**run_json(report), **_ahead_json(report)})
        else:
            _print(common, report)
    return exit_code_of(reports)


async def _plan(app: App, rules: Sequence[Rule]) -> list[Report]:
    runner = app.mirror_runner(SilentProgress(), lambda _rule, _outcome: None)
    try:
        return [await runner.plan(rule) for rule in rules]
    finally:
        await runner.aclose()


def _print(common: Common, report: Report) -> None:
    if not common.quiet:
        rows = [_cells(one) for one in report.outcomes]
        heads = ["REPO", "REVISION", "VERDICT", "FETCH", "HELD", "REQUESTS", "WHY"]
        print_table(heads, rows)
    results = [one.result for one in report.outcomes if one.result is not None]
    plans = [one.plan for one in results if one.plan is not None]
    files = sum(len(plan.fetch) for plan in plans)
    size = format_size(sum(plan.fetch_bytes for plan in plans))
    counted = ", ".join(
        f"{report.count(verdict)} {verdict.value}"
        for verdict in Verdict
        if report.count(verdict)
    )
    least, most = _requests_ahead(report.outcomes)
    ahead = f"{least}" if least == most else f"{least} to {most}"
    click.echo(
        f"{report.rule.name}: {counted or 'nothing is selected'}; {files} files, "
        f"{size} to fetch; requests: {report.requests} to plan this, {ahead} more to "
        "fetch"
    )
    if report.error is not None:
        say(f"hubsync: error: {report.rule.name}: {report.error}")
        if report.error.hint:
            say(f"hubsync: hint: {report.error.hint}")


def _cells(one: Outcome) -> list[str]:
    item, plan = one.item, one.result.plan if one.result else None
    fetch = held = requests = "-"
    if plan is not None:
        fetch = f"{len(plan.fetch)} files, {format_size(plan.fetch_bytes)}"
        held = format_size(plan.totals.reuse_bytes)
        least, most = _requests_ahead([one])
        requests = f"{least}" if least == most else f"{least}-{most}"
    elif one.verdict is Verdict.UNCHANGED:
        requests = "0"
    why = str(one.error) if one.error else item.why
    cells = [str(item.repo), item.revision or "-", one.verdict.value]
    return [*cells, fetch, held, requests, why]


def _requests_ahead(outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Least and most requests to the hub that fetching takes."""
    least = most = 0
    for one in outcomes:
        if one.result is not None and one.result.plan is not None:
            few, many = one.result.plan.requests_hub(
                sends_contents=one.result.sends_contents
            )
            # The run that fetches asks for its history and its tree again; of one
            # that it does not know, also what repo it is.
            least += few + REQUESTS_KNOWN
            most += many + (REQUESTS_KNOWN if one.item.before else REQUESTS_NEW)
    return least, most


def _planned_json(rule: Rule, one: Outcome) -> Mapping[str, object]:
    plan = one.result.plan if one.result else None
    least, most = _requests_ahead([one])
    return {
        **outcome_json(rule, one),
        "files_to_fetch": len(plan.fetch) if plan else 0,
        "bytes_to_fetch": plan.fetch_bytes if plan else 0,
        "bytes_held": plan.totals.reuse_bytes if plan else 0,
        "requests_to_fetch_min": least,
        "requests_to_fetch": most,
    }


def _ahead_json(report: Report) -> Mapping[str, object]:
    plans = [one.result.plan for one in report.outcomes if one.result]
    least, most = _requests_ahead(report.outcomes)
    return {
        "dry_run": True,
        "files_to_fetch": sum(len(plan.fetch) for plan in plans if plan),
        "bytes_to_fetch": sum(plan.fetch_bytes for plan in plans if plan),
        "requests_to_fetch_min": least,
        "requests_to_fetch": most,
    }
