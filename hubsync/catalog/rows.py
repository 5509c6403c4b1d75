"""What the catalog takes and gives: plain values, no database behind them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hubsync.model.record import RepoRecord
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, RepoInfo, SnapshotState, TreeEntry


@dataclass(frozen=True, slots=True)
class RepoRow:
    """A recorded repo.  *aliases* are names it had before."""

    id: int
    repo: RepoId
    hub_id: str | None
    card_json: str
    recorded_at: datetime
    last_synced_at: datetime
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[RepoId, ...]:
        """The repo under its name and its former ones, as views have it."""
        kind = self.repo.repo_type
        former = (RepoId(self.repo.upstream, kind, name) for name in self.aliases)
        return (self.repo, *former)

    @property
    def card(self) -> dict[str, Any]:
        """The hub's JSON object as it came; parsed anew at each call."""
        card: dict[str, Any] = json.loads(self.card_json)
        return card


@dataclass(frozen=True, slots=True)
class TotalsRow:
    """How much there is of everything."""

    repos: int
    blobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A recorded commit.  *seq* is our order of recording within the repo."""

    id: int
    repo_id: int
    seq: int
    commit: Commit
    recorded_at: datetime
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotStateRow:
    """How much of a snapshot is held.

    *pointers*: LFS files that are not.  *damaged*: files that were and are not.
    """

    state: SnapshotState
    files: int
    bytes: int
    files_held: int
    bytes_held: int
    pointers: int
    damaged: int


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A blob that was held and is not: what verify found, and nobody has mended.

    *name* is ``sha256:<hex>``, or for a plain file ``git:<oid>``.
    """

    name: str
    size_bytes: int
    since: datetime
    files: tuple[tuple[RepoRow, SnapshotRow, str], ...]


@dataclass(frozen=True, slots=True)
class RefRow:
    """Where a ref points now."""

    name: RefName
    commit: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RefMove:
    """One line of the ref log.  *old* is None when the ref was new."""

    name: RefName
    old: str | None
    new: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Publication:
    """All that makes one commit visible, in one transaction.

    *info* None: keep what is recorded of the repo.  *alias*: the name that was
    asked for, when the hub answered with another.  *must_hold*: whether the file
    at a path (LFS, or not) has to be held for this to happen; None: no file has
    to.  *at* None: now.
    """

    repo: RepoId
    info: RepoInfo | None
    commit: Commit
    entries: Sequence[TreeEntry]
    refs: Sequence[RefName]
    alias: str | None = None
    accept_new_identity: bool = False
    must_hold: Callable[[str, bool], bool] | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What a publication changed."""

    repo: RepoRow
    snapshot: SnapshotRow
    new_commit: bool
    moved: list[RefMove]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was taken out, so that views can follow.

    *whole_repo*: nothing of the repo is recorded any more.
    """

    repo: RepoRow
    commits: tuple[str, ...]
    refs: tuple[RefName, ...]
    whole_repo: bool


def record_of(
    row: RepoRow, refs: Sequence[RefRow], commits: Sequence[str]
) -> RepoRecord:
    """What the store keeps of a repo besides its commits."""
    return RepoRecord(
        repo=row.repo,
        hub_id=row.hub_id,
        aliases=row.aliases,
        refs={ref.name: ref.commit for ref in refs},
        card=row.card,
        commits=commits,
        recorded_at=row.recorded_at,
    )
