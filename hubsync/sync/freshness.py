"""Which repos of a mirror have changed, told by lists and refs and not by files.

Commits are compared, never dates.  A repo whose head is the commit that this mirror
brought in last, with the same selection, costs no request of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hubsync.catalog.mirrored import MirrorRepo
from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoId
from hubsync.model.revision import DEFAULT_BRANCH, RefName, canonical, is_commit
from hubsync.ports.hub import RevisionNotFoundError
from hubsync.sync.rules import Rule
from hubsync.sync.selectors import Chosen


class RefLister(Protocol):
    """A hub that tells where all refs of a repo are."""

    async def refs(self, repo: RepoId) -> Mapping[RefName, str]:
        """Every branch, tag and other ref of *repo*, with its commit: one request.

        Raises:
            as `Hub.resolve`.
        """


class Verdict(StrEnum):
    """What a run has to do with one repo at one revision."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"  # new ones, too
    REFUSED = "refused"  # by the rule itself; what is held of it stays
    GONE = "gone"  # the hub does not show it any more; what is held stays
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Item:
    """One repo at one revision of a mirror, and what is to be done about it."""

    repo: RepoId
    revision: str
    verdict: Verdict
    why: str
    commit: str | None = None  # where the revision is now, if that is known
    hub_id: str | None = None
    before: MirrorRepo | None = None  # what this mirror brought in last
    error: HubsyncError | None = None


class Freshness:
    """Judges what a rule has chosen by what was brought in before."""

    def __init__(
        self, rule: Rule, hub: RefLister, mirrored: Sequence[MirrorRepo]
    ) -> None:
        self._rule, self._hub = rule, hub
        self._before: dict[str, dict[str, MirrorRepo]] = {}
        self._names: dict[str, str] = {}  # by the hub's own id
        for one in mirrored:
            self._before.setdefault(one.repo.name, {})[one.revision] = one
            if one.hub_id:
                self._names[one.hub_id] = one.repo.name

    async def judge(self, chosen: Sequence[Chosen]) -> list[Item]:
        """An item for each repo and revision, those that have gone included."""
        items: list[Item] = []
        seen: set[str] = set()
        for one in chosen:
            seen |= {one.repo.name, self._former_name(one)}
            items += await self._judge(one)
        for name in sorted(self._before.keys() - seen):
            items += self._gone(name, "not among what the rule selects any more")
        return items

    async def _judge(self, one: Chosen) -> list[Item]:
        if one.refused:
            return [Item(one.repo, "", Verdict.REFUSED, one.refused)]
        if one.gone and one.repo.name in self._before:
            return self._gone(one.repo.name, str(one.error))
        if one.error or one.listed is None:
            return [_not_there(one, one.error)]
        if self._rule.wants_main_only and one.listed.head:
            return [self._compare(one, DEFAULT_BRANCH, one.listed.head)]
        try:
            refs = await self._hub.refs(one.repo)
        except HubsyncError as error:
            return [_not_there(one, error)]
        return [
            self._compare(one, revision, _commit_of(revision, one, refs))
            for revision in self._rule.revisions_of(refs)
        ]

    def _compare(self, one: Chosen, revision: str, commit: str | None) -> Item:
        if commit is None:
            error = RevisionNotFoundError(f"{one.repo} has no revision {revision!r}")
            return _not_there(one, error, revision)
        before = self._before.get(self._former_name(one), {}).get(revision)
        verdict, why = Verdict.CHANGED, one.why
        if before is None:
            pass
        elif before.repo.name != one.repo.name:
            why = f"renamed, it was {before.repo.name}"
        elif before.commit != commit:
            why = f"moved on from {before.commit[:10]}"
        elif before.selection != self._rule.key:
            why = "the mirror selects other files now"
        else:
            verdict = Verdict.UNCHANGED
        hub_id = one.listed.hub_id if one.listed else None
        return Item(one.repo, revision, verdict, why, commit, hub_id, before)

    def _former_name(self, one: Chosen) -> str:
        hub_id = one.listed.hub_id if one.listed else None
        return self._names.get(hub_id or "", one.repo.name)

    def _gone(self, name: str, why: str) -> list[Item]:
        return [
            Item(one.repo, one.revision, Verdict.GONE, why, one.commit, before=one)
            for one in self._before[name].values()
        ]


def _not_there(one: Chosen, error: HubsyncError | None, revision: str = "") -> Item:
    return Item(one.repo, revision, Verdict.FAILED, str(error), error=error)


def _commit_of(revision: str, one: Chosen, refs: Mapping[RefName, str]) -> str | None:
    """Where *revision* is, as `resolve` would find it."""
    revision = canonical(revision)
    if is_commit(revision):
        return revision
    if revision in (DEFAULT_BRANCH, "HEAD") and one.listed and one.listed.head:
        return one.listed.head
    names = (
        [RefName(revision)]
        if revision.startswith("refs/")
        else [RefName.branch(revision), RefName.tag(revision)]
    )
    return next((refs[name] for name in names if name in refs), None)
