"""Which mirrors are meant, and what a run of them comes to."""

from collections.abc import Mapping, Sequence

from hubsync.cli.common import Common
from hubsync.config.rules import rules_of
from hubsync.model.errors import ExitCode, UsageError
from hubsync.model.units import format_size
from hubsync.sync.freshness import Verdict
from hubsync.sync.mirror import Outcome, Report
from hubsync.sync.rules import Rule

_SAID = (Verdict.CHANGED, Verdict.FAILED, Verdict.GONE)  # what a person wants to see


def wanted(common: Common, names: Sequence[str]) -> list[Rule]:
    """The rules of those mirrors.

    Raises:
        UsageError: none is configured, or none of that name.
    """
    settings = common.settings()
    if not settings.mirrors:
        raise UsageError(
            "no mirror is configured",
            hint="Write a [[mirrors]] table into the configuration: "
            "hubsync config init --stdout shows one.",
        )
    return rules_of(settings, names)


def outcome_lines(rule: Rule, outcome: Outcome) -> list[str]:
    """About one repo, if anything is to be said of it."""
    item, result = outcome.item, outcome.result
    if outcome.verdict not in _SAID:
        return []
    name = f"{item.repo}@{item.revision}" if item.revision else f"{item.repo}"
    if outcome.error is not None:
        said = [f"hubsync: {rule.name}: {name}: error: {outcome.error}"]
        hint = outcome.error.hint
        return [*said, f"hubsync: hint: {hint}"] if hint else said
    if result is None:
        return [f"{rule.name}: {name}: kept, {item.why}"]
    size = format_size(result.bytes_fetched)
    line = f"{rule.name}: {name} = {result.commit.oid[:10]} ({item.why}): "
    line += f"{result.files_fetched} files fetched, {size}"
    return [line, *(f"hubsync: warning: {one}" for one in result.warnings)]


def run_lines(report: Report) -> list[str]:
    """How it ended."""
    count, counters = report.count, report.counters
    parts = [
        f"{count(Verdict.UNCHANGED)} unchanged",
        f"{count(Verdict.CHANGED)} changed",
    ]
    rare = (Verdict.FAILED, Verdict.GONE, Verdict.REFUSED)
    parts += [f"{count(one)} {one.value}" for one in rare if count(one)]
    requests = report.requests
    line = (
        f"{report.rule.name} {report.state.value}: {', '.join(parts)}; "
        f"{counters.files_fetched} files, {format_size(counters.bytes_fetched)} "
        f"fetched, {format_size(counters.bytes_reused)} reused, "
        f"{requests} {'request' if requests == 1 else 'requests'}, "
        f"{report.elapsed_s:.1f} s"
    )
    said = [line]
    if report.error is not None:
        said.append(f"hubsync: error: {report.rule.name} ended early: {report.error}")
        if report.error.hint:
            said.append(f"hubsync: hint: {report.error.hint}")
    return said


def outcome_json(rule: Rule, outcome: Outcome) -> Mapping[str, object]:
    """One repo at one revision."""
    item, result, error = outcome.item, outcome.result, outcome.error
    return {
        "mirror": rule.name,
        "upstream": item.repo.upstream,
        "repo_type": item.repo.repo_type.value,
        "repo": item.repo.name,
        "revision": item.revision or None,
        "verdict": outcome.verdict.value,
        "why": item.why,
        "commit": result.commit.oid if result else item.commit,
        "files_fetched": result.files_fetched if result else 0,
        "bytes_fetched": result.bytes_fetched if result else 0,
        "bytes_reused": result.bytes_reused if result else 0,
        "requests": result.requests if result else 0,
        "error": str(error) if error else None,
        "exit_code": int(error.exit_code) if error else None,
    }


def run_json(report: Report) -> Mapping[str, object]:
    """A run; docs/mirrors.md tells the keys."""
    counters = report.counters
    return {
        "run": report.run,
        "mirror": report.rule.name,
        "state": report.state.value,
        "repos_selected": counters.repos_selected,
        "repos_checked": counters.repos_checked,
        "repos_unchanged": report.count(Verdict.UNCHANGED),
        "repos_changed": counters.repos_changed,
        "repos_failed": counters.repos_failed,
        "repos_gone": report.count(Verdict.GONE),
        "repos_refused": report.count(Verdict.REFUSED),
        "files_fetched": counters.files_fetched,
        "bytes_fetched": counters.bytes_fetched,
        "bytes_reused": counters.bytes_reused,
        "requests": counters.requests,
        "elapsed_s": round(report.elapsed_s, 3),
        "error": str(report.error) if report.error else None,
    }


def exit_code_of(
    reports: Sequence[Report], others: Sequence[ExitCode] = ()
) -> ExitCode:
    """One for all of them; *others*: of mirrors that were not begun."""
    codes = [*(one.exit_code for one in reports), *others]
    bad = [code for code in codes if code is not ExitCode.DONE]
    if not bad:
        return ExitCode.DONE
    if ExitCode.NO_ROOM in bad:
        return ExitCode.NO_ROOM
    return bad[0] if len(bad) == len(codes) else ExitCode.PARTLY
