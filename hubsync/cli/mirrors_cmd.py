"""``hubsync mirrors``."""

from datetime import UTC, datetime

import click

from hubsync.catalog.runs import RunRow
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import iso, print_json, print_table, say
from hubsync.config.mirrors import MirrorSettings
from hubsync.config.rules import rules_of, timing_of
from hubsync.model.errors import ExitCode
from hubsync.model.units import format_size
from hubsync.sync.rules import Rule

EPILOG = """\b
EXAMPLES
  hubsync mirrors
  hubsync mirrors --json

""" + exit_status(ExitCode.USAGE)


@click.command("mirrors", epilog=EPILOG)
@common_options
def command(common: Common) -> None:
    """The mirrors of the configuration, and how the last run of each went."""
    settings = common.settings()
    rules = rules_of(settings)
    last: dict[str, RunRow | None] = {}
    if (settings.store.root / "VERSION").is_file():
        with common.open(read_only=True) as app:
            last = {rule.name: app.catalog.runs.last(rule.name) for rule in rules}
    due = {one.name: _due(one) for one in settings.mirrors}
    for rule in rules:
        if common.as_json:
            next_run = {"next_run_at": due[rule.name]}
            print_json({**_json(rule, last.get(rule.name)), **next_run})
        elif common.quiet:
            click.echo(rule.name)
    if common.as_json or common.quiet:
        return
    if not rules:
        say("no mirror is configured: hubsync config init --stdout shows one")
    heads = ["MIRROR", "SELECTS", "REVISIONS", "LAST RUN", "STATE", "CHANGED"]
    rows = [
        [*_cells(rule, last.get(rule.name)), due[rule.name] or "by hand"]
        for rule in rules
    ]
    print_table([*heads, "FETCHED", "DUE"], rows)


def _due(mirror: MirrorSettings) -> str | None:
    """When a daemon would carry *mirror* out; None: it would not."""
    timing = timing_of(mirror)
    if timing is None:
        return None
    from hubsync.daemon.scheduler import next_time  # noqa: PLC0415 - slow to import

    return iso(next_time(mirror.name, timing, datetime.now(UTC)))


def _cells(rule: Rule, run: RunRow | None) -> list[str]:
    cells = [rule.name, _selects(rule), ",".join(rule.revisions)]
    if run is None:
        return [*cells, "never", "-", "-", "-"]
    counters = run.counters
    return [
        *cells,
        iso(run.started_at) or "",
        run.state.value,
        str(counters.repos_changed),
        format_size(counters.bytes_fetched),
    ]


def _selects(rule: Rule) -> str:
    kinds = [*rule.repos[:2]]
    if len(rule.repos) > len(kinds):
        kinds.append(f"{len(rule.repos) - len(kinds)} more")
    kinds += ["a search"] * bool(rule.searches)
    kinds += [f"collection {slug}" for slug in rule.collections]
    return f"{rule.repo_type.plural}: {', '.join(kinds)}"


def _json(rule: Rule, run: RunRow | None) -> dict[str, object]:
    return {
        "mirror": rule.name,
        "upstream": rule.upstream,
        "repo_type": rule.repo_type.value,
        "repos": list(rule.repos),
        "revisions": list(rule.revisions),
        "include": list(rule.selection.include),
        "exclude": list(rule.selection.exclude),
        "skip_smudge": rule.selection.skip_smudge,
        "priority": rule.priority,
        "last_run": run.id if run else None,
        "last_started_at": iso(run.started_at) if run else None,
        "last_ended_at": iso(run.ended_at) if run else None,
        "last_state": run.state.value if run else None,
    }
