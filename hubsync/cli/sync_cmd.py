"""``hubsync sync``."""

from collections.abc import Sequence

import click

from hubsync.catalog.runs import MirrorBusyError
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.mirror_report import (
    exit_code_of,
    outcome_json,
    outcome_lines,
    run_json,
    run_lines,
    wanted,
)
from hubsync.cli.output import print_json, say
from hubsync.cli.plan_cmd import print_plans
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.cli.running import run_to_end
from hubsync.model.errors import ExitCode
from hubsync.ports.progress import SilentProgress
from hubsync.sync.mirror import Outcome, Report
from hubsync.sync.rules import Rule
from hubsync.wiring import App

EPILOG = """\b
EXAMPLES
  hubsync sync                 every mirror of the configuration
  hubsync sync qwen-small      this one
  hubsync sync --dry-run       what it would do: as hubsync plan
  hubsync sync --quiet         in a crontab: says only what fails

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
    ExitCode.INTERRUPTED,
)


@click.command("sync", epilog=EPILOG)
@click.argument("mirrors", nargs=-1, metavar="[MIRROR]...")
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@common_options
def command(common: Common, *, mirrors: tuple[str, ...], dry_run: bool) -> int:
    """Carry out each MIRROR of the configuration once; all if none is named.

    A repo whose head has not moved costs no request of its own.  What fails with
    one repo stops no other.  What the hub does not show any more is kept.
    """
    rules = wanted(common, mirrors)
    if dry_run:
        return print_plans(common, rules)
    with common.open(create=True) as app, app.root.lock_reading(LOCK_WAIT_S):
        ended = run_to_end(_carry_out(app, common, rules))
    busy = [one for one in ended if isinstance(one, MirrorBusyError)]
    if len(busy) == len(ended):
        raise busy[0]
    reports = [one for one in ended if isinstance(one, Report)]
    return exit_code_of(reports, others=[one.exit_code for one in busy])


async def _carry_out(
    app: App, common: Common, rules: Sequence[Rule]
) -> list[Report | MirrorBusyError]:
    def told(rule: Rule, outcome: Outcome) -> None:
        if common.as_json:
            print_json(outcome_json(rule, outcome))
        elif not common.quiet or outcome.error is not None:
            for line in outcome_lines(rule, outcome):
                say(line)

    runner = app.mirror_runner(SilentProgress(), told)
    ended: list[Report | MirrorBusyError] = []
    try:
        for rule in rules:
            try:
                report = await runner.run(rule, "command")
            except MirrorBusyError as error:  # the others are not
                ended.append(error)
                if len(rules) > 1:
                    say(f"hubsync: error: {error}")
                continue
            ended.append(report)
            _say_end(common, report)
    finally:
        await runner.aclose()
    return ended


def _say_end(common: Common, report: Report) -> None:
    if common.as_json:
        print_json(run_json(report))
    elif not common.quiet or report.error is not None:
        for line in run_lines(report):
            say(line)
