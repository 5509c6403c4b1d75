"""What is kept of a recorded revision, whatever becomes of the catalog."""

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from hubsync.model.errors import IntegrityError
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, HeldEntry


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One commit with its whole tree.

    *entries* are ordered by their paths.  ``HeldEntry.digest`` is what a plain
    file's bytes hash to, when they were held; an LFS file names its digest itself.
    """

    repo: RepoId
    hub_id: str | None
    commit: Commit
    recorded_at: datetime
    entries: Collection[HeldEntry]


@dataclass(frozen=True, slots=True)
class RepoRecord:
    """What changes of a repo: its names, where its refs point (40 hex).

    *commits* are all of the repo's, in the order in which they were recorded; no
    clock says that as surely.  *recorded_at* None: a commit was about to be the
    repo's first under this name, and that is all that is known.
    """

    repo: RepoId
    hub_id: str | None
    aliases: Sequence[str] = ()
    refs: Mapping[RefName, str] = field(default_factory=dict)
    card: Mapping[str, object] = field(default_factory=dict)
    commits: Sequence[str] = ()
    recorded_at: datetime | None = None

    def keeping(self, before: "RepoRecord", recorded: Container[str]) -> "RepoRecord":
        """This record, with what *before* knew of commits that are *recorded*.

        The catalog that this one was made from may be an old one, put back: what
        it has never heard of can still be adopted.
        """
        if before.hub_id not in (None, self.hub_id):
            return self  # another repo had the name
        known = set(self.commits)
        lost = {oid for oid in before.commits if oid not in known and oid in recorded}
        if not lost:
            return self
        refs = {
            name: oid
            for name, oid in before.refs.items()
            if oid in lost and name not in self.refs
        }
        return replace(
            self,
            refs={**refs, **self.refs},
            commits=_merged(self.commits, before.commits, lost),
        )


def _merged(
    now: Sequence[str], before: Sequence[str], lost: Container[str]
) -> tuple[str, ...]:
    """*now*, with those of *before* that are *lost* where they were."""
    place = {oid: index for index, oid in enumerate(now)}
    found: list[str] = []
    done = 0
    for oid in before:
        if oid in lost:
            found.append(oid)
        elif place.get(oid, -1) >= done:
            found += now[done : place[oid] + 1]
            done = place[oid] + 1
    return (*found, *now[done:])


class RecordDamagedError(IntegrityError):
    """A record that cannot be read: what it said has to be pulled again."""


class RecordGoneError(RecordDamagedError):
    """It was there a moment ago: withdrawn, forgotten or moved with its repo."""


@dataclass(frozen=True, slots=True)
class RecordFolder:
    """What is kept of one repo under one of its names.

    *repo* is the error when the repo's own record is missing or cannot be read.
    *hidden* are commits that somebody was about to forget.
    """

    key: str
    repo: RepoRecord | RecordDamagedError
    commits: tuple[str, ...]
    hidden: tuple[str, ...]
