"""What a pull, or its plan, comes to: for people and as JSON."""

from collections.abc import Mapping

import click

from hubsync.cli.common import Common
from hubsync.cli.output import in_events, print_json, say
from hubsync.model.units import format_size
from hubsync.sync.planner import Plan
from hubsync.sync.request import PullRequest, PullResult

FILES_SHOWN = 20


def print_pull(common: Common, request: PullRequest, result: PullResult) -> None:
    """Its JSON, its plan (dry run), or its last line and the snapshot's folder."""
    if common.as_json:
        print_json(as_json(result))
        return
    if result.plan is not None:
        _print_plan(common, result, result.plan)
        _say_warnings(result)
        return
    if not (common.quiet or in_events()):
        _say_warnings(result)
        say(_last_line(result))
    path = result.path
    if path is not None and request.selection.path:
        path = path / request.selection.path
    if path is not None:
        click.echo(str(path))


def _say_warnings(result: PullResult) -> None:
    for warning in result.warnings:
        say(f"hubsync: warning: {warning}")


def _last_line(result: PullResult) -> str:
    """What came, what was there, how fast: the line that stays on the screen."""
    totals = result.totals
    parts = []
    if result.bytes_fetched:
        rate = result.bytes_fetched / max(result.elapsed_s, 0.001)
        fetched = f"{format_size(result.bytes_fetched)} fetched and verified"
        parts.append(f"{fetched} at {format_size(rate)}/s")
    else:
        parts.append("0 B fetched")
    if result.bytes_reused:
        parts.append(f"{format_size(result.bytes_reused)} reused")
    if totals.pointers:
        parts.append(f"{totals.pointers} left as pointers")
    requests = "1 request" if result.requests == 1 else f"{result.requests} requests"
    return (
        f"{result.repo} {result.revision} = {result.commit.oid[:10]}: "
        f"{totals.selected} files, {format_size(totals.selected_bytes)} "
        f"({', '.join(parts)}) in {result.elapsed_s:.1f} s, {requests}"
    )


def as_json(result: PullResult) -> Mapping[str, object]:
    """Everything a script may want to know; docs/progress.md tells the keys."""
    plan, totals = result.plan, result.totals
    answer: dict[str, object] = {
        "upstream": result.repo.upstream,
        "repo_type": result.repo.repo_type.value,
        "repo": result.repo.name,
        "revision": result.revision,
        "commit": result.commit.oid,
        "path": str(result.path) if result.path else None,
        "files": totals.selected,
        "bytes": totals.selected_bytes,
        "bytes_fetched": result.bytes_fetched,
        "bytes_reused": result.bytes_reused,
        "files_skipped": totals.skipped,
        "pointers": totals.pointers,
        "elapsed_s": round(result.elapsed_s, 3),
        "warnings": list(result.warnings),
        "requests": result.requests,
        "new_commit": result.new_commit,
    }
    if plan is not None:
        answer["dry_run"] = True
        answer["requests_spent"] = result.requests
        least, most = plan.requests_hub(sends_contents=result.sends_contents)
        answer["requests_to_fetch_min"] = least
        answer["requests_to_fetch"] = most
        answer["bytes_to_fetch"] = plan.fetch_bytes - result.bytes_resumed
        answer["bytes_to_resume"] = result.bytes_resumed
        answer["fetch"] = [
            {"path": item.entry.path, "size": item.want.size_bytes}
            for item in plan.fetch
        ]
    return answer


def _requests_ahead(result: PullResult, plan: Plan) -> str:
    least, most = plan.requests_hub(sends_contents=result.sends_contents)
    if result.sends_contents:
        return f"{least} more to fetch, and 1 for each further part of a large file"
    return f"{most if least == most else f'{least} to {most}'} more to fetch"


def _print_plan(common: Common, result: PullResult, plan: Plan) -> None:
    totals = result.totals
    fetch, reuse, share = map(
        format_size, (totals.fetch_bytes, totals.reuse_bytes, totals.share_bytes)
    )
    if result.bytes_resumed:
        fetch += f", of which {format_size(result.bytes_resumed)} came before"
    click.echo(
        f"{result.repo} {result.revision} = {result.commit.oid}\n"
        f"  to fetch      {len(plan.fetch):>7} files  {fetch}\n"
        f"  already held  {len(plan.reuse):>7} files  {reuse}\n"
        f"  same contents {len(plan.share):>7} files  {share},"
        " fetched once\n"
        f"  pointers      {len(plan.pointers):>7} files\n"
        f"  not selected  {len(plan.skipped):>7} files\n"
        f"  requests      {result.requests:>7} sent to plan this, "
        f"{_requests_ahead(result, plan)}"
    )
    if common.quiet:
        return
    largest = sorted(plan.fetch, key=lambda item: -item.want.size_bytes)
    for item in largest[:FILES_SHOWN]:
        click.echo(f"  {format_size(item.want.size_bytes):>10}  {item.entry.path}")
    if len(largest) > FILES_SHOWN:
        click.echo(f"  … and {len(largest) - FILES_SHOWN} smaller files")
    say("nothing was changed (--dry-run)")
