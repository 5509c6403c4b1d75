"""What the store itself keeps of every recorded revision.

The catalog answers questions; these records outlive it.  From them alone it can
be made again (`hubsync db rebuild`).
"""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Protocol

from hubsync.model.record import RecordFolder, RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId


class Records(Protocol):
    """Write-once records of commits, and one changing record of each repo.

    What is written or hidden is durable when the call returns.
    """

    def holds(self, repo: RepoId, oid: str) -> bool:
        """Whether the commit has a record."""

    def write_revision(self, record: RevisionRecord, former: str | None = None) -> None:
        """Replaces one that knew less.  *former*: the repo's name until now."""

    def write_repo(self, repo: RepoId, read: Callable[[], RepoRecord]) -> bool:
        """Write down what *read* says; False when that was known already.

        It is called when nobody else writes the record of *repo*, so that of two
        writers the later one has read later.  Commits that only the records know
        keep their place and their refs.
        """

    def absorb(self, repo: RepoId, former: RepoId, mine: Container[str]) -> None:
        """Take over what was recorded of *repo* while it was called *former*.

        That is the commits *mine*; others are of whoever has the name now.
        """

    def hide(self, repo: RepoId, oids: Sequence[str]) -> None:
        """Before the catalog forgets commits: a rebuild shall not know them."""

    def drop_hidden(self, repo: RepoId, oids: Sequence[str]) -> None:
        """After it has."""

    def unhide(self, repo: RepoId, oids: Sequence[str]) -> None:
        """It has not, after all."""

    def drop_repo(self, repo: RepoId) -> None:
        """Take out everything of *repo*."""

    def folders(self) -> Iterator[RecordFolder]:
        """All there is, damaged or not, in a fixed order."""

    def folder_of(self, repo: RepoId) -> RecordFolder | None:
        """The one of *repo*, if it has any."""

    def is_of(self, folder: RecordFolder, repo: RepoId) -> bool:
        """Whether *folder* is the one of *repo*."""

    def read_revision(self, folder: RecordFolder, oid: str) -> RevisionRecord:
        """One of *folder*'s records.

        Raises:
            RecordGoneError: another process took it out of *folder* meanwhile.
            RecordDamagedError: it cannot be read.
        """
