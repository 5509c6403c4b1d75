"""``hubsync mirrors``."""

import click

from hubsync.catalog.runs import RunRow
from hubsync.cli.common import Common, common_options
from hubsync.cli.exits import exit_status
from hubsync.cli.output import iso, print_json, print_table, say
from hubsync.config.rules import rules_of
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
    for rule in rules:
        if common.as_json:
            print_json(_json(rule, last.get(rule.name)))
        elif common.quiet:
            click.echo(rule.name)
    if common.as_json or common.quiet:
        return
    if not rules:
        say("no mirror is configured: hubsync config init --stdout shows one")
    heads = [
        "MIRROR",
        "SELECTS",
        "REVISIONS",
        "LAST RUN",
        "STATE",
        "CHANGED",
        "FETCHED",
    ]
    print_table(heads, [_cells(rule, last.get(rule.name)) for rule in rules])


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
