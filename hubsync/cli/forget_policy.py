"""``hubsync forget --policy``."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from hubsync.catalog.rows import RepoRow
from hubsync.cli.common import Common
from hubsync.cli.output import iso, print_json, print_table, say
from hubsync.cli.pull_cmd import LOCK_WAIT_S
from hubsync.config.rules import keep_rules_of
from hubsync.model.errors import UsageError
from hubsync.retention.keep import KeepVerdict
from hubsync.retention.policy import Governed, forget_by_rule, governed, verdicts
from hubsync.wiring import App


def forget_by_policy(common: Common, *, dry_run: bool) -> None:
    """Forget what no mirror keeps, or say it.

    Raises:
        UsageError: no mirror has a rule.
    """
    rules = keep_rules_of(common.settings())
    if not any(rules.values()):
        raise UsageError(
            "no mirror says which versions stay",
            hint="Give a [[mirrors]] table keep = { last = 3 }.",
        )
    rows, forgotten, kept = [], 0, 0
    with _opened(common, dry_run=dry_run) as app:
        for one in governed(app.catalog, rules):
            for verdict in _settle(app, one, dry_run=dry_run):
                forgotten, kept = forgotten + (not verdict.keep), kept + verdict.keep
                if common.as_json:
                    print_json(_json(one.repo, verdict, dry_run=dry_run))
                elif dry_run or not verdict.keep:
                    rows.append(_cells(one.repo, verdict))
    if not (common.as_json or common.quiet):
        print_table(["REPO", "COMMIT", "RECORDED", "VERDICT", "WHY"], rows)
        done = "would be forgotten" if dry_run else "forgotten"
        say(f"{forgotten} versions {done}, {kept} kept; free the room with: hubsync gc")


@contextmanager
def _opened(common: Common, *, dry_run: bool) -> Iterator[App]:
    if dry_run:
        with common.open(read_only=True) as app:
            yield app
        return
    with common.open(frees_room=True) as app, app.root.lock_shared(LOCK_WAIT_S):
        yield app


def _settle(app: App, one: Governed, *, dry_run: bool) -> list[KeepVerdict]:
    now = datetime.now(UTC)
    if dry_run:
        return verdicts(app.catalog, one, now)
    lock = app.lock_views_alone
    return forget_by_rule(app.catalog, app.records, app.views, lock, one, now)


def _cells(row: RepoRow, verdict: KeepVerdict) -> list[str]:
    snapshot = verdict.snapshot
    what = "keep" if verdict.keep else "forget"
    recorded = iso(snapshot.recorded_at) or ""
    return [str(row.repo), snapshot.commit.oid[:10], recorded, what, verdict.why]


def _json(row: RepoRow, verdict: KeepVerdict, *, dry_run: bool) -> Mapping[str, object]:
    return {
        "upstream": row.repo.upstream,
        "repo_type": row.repo.repo_type.value,
        "repo": row.repo.name,
        "commit": verdict.snapshot.commit.oid,
        "recorded_at": iso(verdict.snapshot.recorded_at),
        "keep": verdict.keep,
        "why": verdict.why,
        "dry_run": dry_run,
    }
