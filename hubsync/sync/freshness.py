"""Which repos of a mirror have changed, told by lists and refs and not by files.

Commits are compared, never dates.  A repo whose head is the commit that this mirror
brought in last, with the same selection, costs no request of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from hubsync.catalog.mirrored import MirrorRepo
from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import (
    DEFAULT_BRANCH,
    RefName,
    canonical,
    is_commit,
    may_be_short_commit,
)
from hubsync.ports.hub import RevisionNotFoundError, is_silence
from hubsync.sync.rules import Rule
from hubsync.sync.selectors import Chosen

SILENCES_MAX = 3  # in a row: the hub is down, and the rest would wait for it in vain


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
        self._before: dict[RepoId, dict[str, MirrorRepo]] = {}
        self._names: dict[RepoId, RepoId] = {}  # by themselves, in small letters
        self._same: dict[tuple[str, RepoType, str], list[MirrorRepo]] = {}
        for one in mirrored:
            self._before.setdefault(one.repo, {})[one.revision] = one
            self._names[_folded(one.repo)] = one.repo
            if one.hub_id:
                self._same.setdefault(_identity(one.repo, one.hub_id), []).append(one)
        self._silences = 0

    async def judge(self, chosen: Sequence[Chosen]) -> list[Item]:
        """An item for each repo and revision, those that have gone included.

        Raises:
            UnavailableError: the hub does not answer any more.
        """
        items: list[Item] = []
        seen: set[RepoId] = set()
        for one in chosen:
            seen |= {self._names.get(_folded(one.repo), one.repo)}
            seen |= {row.repo for row in self._rows(one)}
            items += await self._judge(one)
        for repo in sorted(self._before.keys() - seen):
            items += self._gone(repo, "not among what the rule selects any more")
        return items

    async def _judge(self, one: Chosen) -> list[Item]:
        if one.refused:
            return [Item(one.repo, "", Verdict.REFUSED, one.refused)]
        held_as = self._names.get(_folded(one.repo))
        if one.gone and held_as is not None:
            return self._gone(held_as, str(one.error))
        if one.error or one.listed is None:
            return [_not_there(one, one.error)]
        if self._rule.wants_main_only and one.listed.head:
            return [self._compare(one, DEFAULT_BRANCH, one.listed.head)]
        try:
            refs = await self._hub.refs(one.repo)
        except HubsyncError as error:
            self._count_silence(error)
            return [_not_there(one, error)]
        self._silences = 0
        return [
            self._compare(one, revision, _commit_of(revision, one, refs))
            for revision in self._rule.revisions_of(refs)
        ]

    def _compare(self, one: Chosen, revision: str, commit: str | None) -> Item:
        before = self._held(one).get(revision)
        if commit is None and may_be_short_commit(revision.lower()):
            # No ref tells, but the pull does, once: a commit never moves.
            if before and before.commit.startswith(revision.lower()):
                commit = before.commit
        elif commit is None:
            error = RevisionNotFoundError(f"{one.repo} has no revision {revision!r}")
            return _not_there(one, error, revision)
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
        return Item(one.repo, revision, verdict, why, commit, one.hub_id, before)

    def _held(self, one: Chosen) -> Mapping[str, MirrorRepo]:
        """What is held of it, by revision; of another repo of its name, nothing."""
        hub_id = one.hub_id
        named = self._before.get(one.repo, {}).values()
        rows = [
            *self._rows(one),
            *(row for row in named if hub_id is None or row.hub_id in (None, hub_id)),
        ]
        return {row.revision: row for row in rows}

    def _rows(self, one: Chosen) -> Sequence[MirrorRepo]:
        """What is held of it under any name."""
        if one.hub_id is None:
            return []
        return self._same.get(_identity(one.repo, one.hub_id), [])

    def _gone(self, repo: RepoId, why: str) -> list[Item]:
        return [
            Item(one.repo, one.revision, Verdict.GONE, why, one.commit, before=one)
            for one in self._before[repo].values()
        ]

    def _count_silence(self, error: HubsyncError) -> None:
        if is_silence(error):
            self._silences += 1
            if self._silences >= SILENCES_MAX:
                raise error
        else:
            self._silences = 0


def _folded(repo: RepoId) -> RepoId:
    return replace(repo, name=repo.name.casefold())


def _identity(repo: RepoId, hub_id: str) -> tuple[str, RepoType, str]:
    return repo.upstream, repo.repo_type, hub_id


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
