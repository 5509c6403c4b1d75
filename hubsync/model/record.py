"""What is kept of a recorded revision, whatever becomes of the catalog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hubsync.model.errors import IntegrityError
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, HeldEntry


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One commit with its whole tree.

    ``HeldEntry.digest`` is what a plain file's bytes hash to, when they were
    held; an LFS file names its digest itself.
    """

    repo: RepoId
    hub_id: str | None
    commit: Commit
    recorded_at: datetime
    entries: Sequence[HeldEntry]


@dataclass(frozen=True, slots=True)
class RepoRecord:
    """What changes of a repo: its names and where its refs point (40 hex)."""

    repo: RepoId
    hub_id: str | None
    aliases: Sequence[str] = ()
    refs: Mapping[RefName, str] = field(default_factory=dict)
    card: Mapping[str, object] = field(default_factory=dict)


class RecordDamagedError(IntegrityError):
    """A record that cannot be read: what it said has to be pulled again."""
