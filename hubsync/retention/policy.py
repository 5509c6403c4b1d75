"""Forgetting by rule: versions that no mirror's ``keep`` keeps."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow
from hubsync.ports.records import Records
from hubsync.ports.view import View
from hubsync.retention.forget import forget
from hubsync.retention.keep import KeepRule, KeepVerdict, judge, together


@dataclass(frozen=True, slots=True)
class Governed:
    """One repo, the rules of the mirrors it belongs to, and where they left it.

    None among *rules*: that mirror keeps everything.
    """

    repo: RepoRow
    rules: tuple[KeepRule | None, ...]
    commits: frozenset[str]


def governed(
    catalog: Catalog, rules: Mapping[str, KeepRule | None]
) -> Sequence[Governed]:
    """The repos that the mirrors *rules* have brought in; no others."""
    found: dict[int, RepoRow] = {}
    belongs: dict[int, dict[str, KeepRule | None]] = defaultdict(dict)
    commits: dict[int, set[str]] = defaultdict(set)
    for mirror, rule in rules.items():
        for one in catalog.runs.mirrored(mirror):
            row = catalog.find_repo(one.repo)
            if row is None:
                continue
            found[row.id] = row
            belongs[row.id][mirror] = rule
            commits[row.id].add(one.commit)
    return [
        Governed(row, tuple(belongs[number].values()), frozenset(commits[number]))
        for number, row in sorted(found.items(), key=lambda pair: pair[1].repo)
    ]


def verdicts(catalog: Catalog, one: Governed, now: datetime) -> list[KeepVerdict]:
    """What is to become of each version of a repo."""
    rules = [rule for rule in one.rules if rule is not None]
    snapshots, refs = catalog.snapshots(one.repo), catalog.refs(one.repo)
    if len(rules) < len(one.rules):  # somebody keeps everything
        why = "a mirror without keep"
        return [KeepVerdict(snap, keep=True, why=why) for snap in snapshots]
    return together([judge(rule, snapshots, refs, one.commits, now) for rule in rules])


def forget_by_rule(  # noqa: PLR0917 - the store's parts
    catalog: Catalog,
    records: Records,
    views: Sequence[View],
    lock_views: Callable[[], AbstractContextManager[None]],
    one: Governed,
    now: datetime,
) -> list[KeepVerdict]:
    """Forget what nothing keeps of one repo; what became of each version.

    Judged and forgotten under the views' lock: whoever publishes holds it too, so
    no ref comes to point to what is about to go.
    """
    with lock_views():
        found = verdicts(catalog, one, now)
        for verdict in found:
            if not verdict.keep:
                forget(catalog, records, views, one.repo, verdict.snapshot)
        return found
