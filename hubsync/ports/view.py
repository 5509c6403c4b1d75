"""A directory laid out as a client's own cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import HeldEntry, SnapshotState


@dataclass(frozen=True, slots=True)
class ViewSnapshot:
    """What a view needs to lay out one snapshot.

    *repo* is the name to lay it out under (a renamed repo is laid out once a
    name).  *refs* point to this commit and are moved after its files are there.
    """

    repo: RepoId
    commit: str
    entries: Sequence[HeldEntry]
    state: SnapshotState
    refs: Sequence[RefName] = ()


class View(Protocol):
    """Links only; it can be rebuilt from catalog and store at any time."""

    def checkout(self, snapshot: ViewSnapshot) -> Path:
        """Lay out *snapshot*, then move its refs; the snapshot's folder.

        A reader of the folder sees the commit's held files whole or not at all;
        a file that is not held is absent, never a pointer in its place.
        """

    def path(self, repo: RepoId, commit: str) -> Path:
        """Where `checkout` puts that snapshot, whether or not it is there."""

    def move_refs(self, repo: RepoId, commit: str, refs: Sequence[RefName]) -> None:
        """Point *refs* to *commit*, which is checked out already."""

    def remove(
        self, repo: RepoId, commit: str | None, refs: Sequence[RefName] = ()
    ) -> None:
        """Take out one snapshot and *refs*, or (commit None) the whole repo.

        Other refs to that snapshot go, too: they would lead nowhere.
        """
