"""One repo at one commit: who made it, and the files it has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.model.errors import HubsyncError
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName


class SnapshotState(StrEnum):
    """How much of a snapshot is held."""

    COMPLETE = "complete"  # every file
    POINTERS = "pointers"  # every plain file; some LFS contents are not
    PARTIAL = "partial"  # some plain file is not


@dataclass(frozen=True, slots=True)
class Commit:
    """An immutable version.  *committed_at* is upstream's word, in UTC."""

    oid: str  # 40 hex
    title: str = ""
    message: str = ""
    authors: tuple[str, ...] = ()
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One file of a tree.

    *git_oid* is the id git gives the path's blob: of the content for a plain
    file, of the **pointer** for an LFS file.  *lfs* is the content's digest and
    is None for a plain file.  *size_bytes* is always the content's.  *xet_hash* is
    what the hub's own store calls an LFS file's content, where the hub says so: a
    note that makes no entry another one.
    """

    path: str
    size_bytes: int
    git_oid: GitOid
    lfs: Digest | None = None
    xet_hash: str | None = field(default=None, compare=False)  # 64 hex

    @property
    def is_lfs(self) -> bool:
        return self.lfs is not None

    @property
    def blob_name(self) -> Digest | GitOid:
        """What its bytes are known by before they are held."""
        return self.lfs or self.git_oid

    @property
    def want(self) -> Descriptor:
        """What to ask a hub for: LFS by sha256, plain by git object id."""
        if self.lfs:
            return Descriptor(self.size_bytes, digest=self.lfs)
        return Descriptor(self.size_bytes, git_oid=self.git_oid)


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """A file of a recorded tree: *digest* is None while its bytes are not held.

    *damaged*: they were held, and were found damaged or missing since.
    """

    entry: TreeEntry
    digest: Digest | None
    damaged: bool = False

    @property
    def held(self) -> bool:
        return self.digest is not None


@dataclass(frozen=True, slots=True)
class RepoInfo:
    """What a hub says of a repo besides its files.

    *hub_id* is the hub's own id of the repo, which survives a rename.  *card*
    is the hub's JSON object as it came (without siblings), for serving again.
    """

    repo: RepoId
    hub_id: str | None = None
    card: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A revision pinned down: the commit, and the ref that named it, if one did.

    *info* is None when the hub was not asked for it again.  *refusal*: the hub shows
    what there is, and gives none of the files to us.
    """

    repo: RepoId
    commit: Commit
    ref: RefName | None
    info: RepoInfo | None
    refusal: HubsyncError | None = None
