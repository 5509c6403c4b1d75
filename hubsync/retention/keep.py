"""Which recorded snapshots a rule keeps, and why.  Pure: no I/O, no clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from hubsync.catalog.rows import RefRow, SnapshotRow
from hubsync.model.units import format_duration


@dataclass(frozen=True, slots=True)
class KeepRule:
    """What of a repo's versions stays, besides what a branch points to.

    *last*: the newest so many, in the order of recording.  *within_s*: what was
    recorded less than so long ago.  *tags*: globs over the tags whose versions stay;
    None: those of all tags.
    """

    last: int | None = None
    within_s: float | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class KeepVerdict:
    """Whether one snapshot stays, and what says so."""

    snapshot: SnapshotRow
    keep: bool
    why: str


def judge(
    rule: KeepRule,
    snapshots: Sequence[SnapshotRow],
    refs: Iterable[RefRow],
    mirrored: Iterable[str],
    now: datetime,
) -> list[KeepVerdict]:
    """A verdict for each of a repo's *snapshots*, newest first as they are given.

    Args:
        rule: what stays.
        snapshots: all that are recorded of one repo.
        refs: where its refs point.
        mirrored: commits that a mirror brought in last, and goes by.
        now: for *within_s*.
    """
    pointed: dict[str, str] = dict.fromkeys(mirrored, "a mirror is there")
    for ref in refs:
        if ref.name.kind != "tag":
            pointed[ref.commit] = f"{ref.name.short} points to it"
        elif _is_kept_tag(rule, ref.name.short):
            pointed.setdefault(ref.commit, f"the tag {ref.name.short} points to it")
    newest = {one.id for one in sorted(snapshots, key=_order)[: rule.last or 0]}
    return [_judge(rule, one, pointed, newest, now) for one in snapshots]


def _judge(
    rule: KeepRule,
    one: SnapshotRow,
    pointed: dict[str, str],
    newest: set[int],
    now: datetime,
) -> KeepVerdict:
    if why := pointed.get(one.commit.oid):
        return KeepVerdict(one, keep=True, why=why)
    if one.id in newest:
        return KeepVerdict(one, keep=True, why=f"among the last {rule.last}")
    if rule.within_s is not None:
        span = format_duration(rule.within_s)
        if one.recorded_at > now - timedelta(seconds=rule.within_s):
            return KeepVerdict(one, keep=True, why=f"recorded within {span}")
    return KeepVerdict(one, keep=False, why="nothing keeps it")


def _is_kept_tag(rule: KeepRule, tag: str) -> bool:
    return rule.tags is None or any(fnmatchcase(tag, glob) for glob in rule.tags)


def _order(one: SnapshotRow) -> int:
    return -one.seq


def together(verdicts: Sequence[Sequence[KeepVerdict]]) -> list[KeepVerdict]:
    """Of several rules for one repo: what one of them keeps is kept."""
    return [
        next((one for one in several if one.keep), several[0])
        for several in zip(*verdicts, strict=True)
    ]
