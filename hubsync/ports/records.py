"""What the store itself keeps of every recorded revision.

The catalog answers questions; these records outlive it.  From them alone it can
be made again (`hubsync db rebuild`).
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from hubsync.model.record import RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId


class Records(Protocol):
    """Write-once records of commits, and one changing record of each repo."""

    def holds(self, repo: RepoId, oid: str) -> bool:
        """Whether the commit has a record."""

    def write_revision(self, record: RevisionRecord) -> None:
        """Durable when this returns; replaces one that knew less."""

    def write_repo(self, record: RepoRecord) -> bool:
        """Durable when this returns; False when it said the same already."""

    def hide(self, repo: RepoId, oids: Sequence[str]) -> None:
        """Before the catalog forgets commits: a rebuild shall not know them."""

    def drop_hidden(self, repo: RepoId, oids: Sequence[str]) -> None:
        """After it has."""

    def unhide(self, repo: RepoId, oids: Sequence[str]) -> None:
        """It has not, after all."""

    def drop_repo(self, repo: RepoId) -> None:
        """Take out everything of *repo*."""

    def commits(self) -> Iterator[tuple[RepoId, str]]:
        """``(repo, commit)`` of every record, hidden ones left out."""

    def hidden(self) -> Iterator[tuple[RepoId, str]]:
        """The same, of hidden ones."""

    def read_revision(self, repo: RepoId, oid: str) -> RevisionRecord:
        """One record.

        Raises:
            RecordDamagedError: it cannot be read.
        """

    def repos(self) -> Iterator[RepoRecord]:
        """Every repo.

        Raises:
            RecordDamagedError: as `read_revision`.
        """
