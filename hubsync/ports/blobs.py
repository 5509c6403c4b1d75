"""Write-once bytes, addressed by digest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.model.errors import ExitCode, HubsyncError, IntegrityError


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """A blob that is durable in the store, with both of its names."""

    digest: Digest
    size_bytes: int
    git_oid: GitOid | None = None


class Ingest(Protocol):
    """An unfinished blob.  One holder at a time, across processes.

    Life: ``begin -> write* -> complete | abort``.  `abort` keeps what was
    written, for a later `begin` of the same descriptor to go on from.
    """

    @property
    def offset(self) -> int:
        """Bytes that are there already: the next byte to write."""

    def write(self, block: bytes | memoryview) -> None:
        """Append *block*, hashing it.

        Raises:
            BlobCorruptError: more bytes than the descriptor's size.
            NoRoomError: the disk, its inodes or the reserve is used up.
        """

    def complete(self) -> HeldBlob:
        """Check size and digests, make durable, give it its final name.

        Raises:
            BlobCorruptError: after moving the bytes to quarantine; the next
                `begin` starts at 0.
        """

    def restart(self) -> None:
        """Drop what was written; ``offset`` is 0 again."""

    def abort(self) -> None:
        """Let go, keeping the partial.  Harmless after `complete`."""


class BlobStore(Protocol):
    """Where blobs live.  Methods block: call them from a thread in async code.

    A blob lives ``begin -> write* -> complete -> open* -> remove``.  Before
    ``complete`` returns no reader sees it; after, it survives power loss.
    """

    def begin(self, want: Descriptor) -> "Ingest | HeldBlob":
        """Start or resume the ingest of *want*.

        Blocks while another process or thread ingests the same descriptor, and
        returns the `HeldBlob` instead when that one completed it meanwhile
        (known only for descriptors with a digest).
        """

    def has(self, digest: Digest, size_bytes: int | None = None) -> bool:
        """Whether the blob is there (and has that size)."""

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes, unbuffered, positioned at 0; has a ``fileno``.

        Raises:
            BlobNotFoundError: it is not there.
        """

    def partial_bytes(self, want: Descriptor) -> int:
        """Bytes of *want* already fetched by an interrupted ingest."""

    def digests(self) -> Iterator[Digest]:
        """Every blob in the store, in no order."""

    def remove(self, digest: Digest) -> int:
        """Take the blob out of the store; returns the bytes freed (0: not there)."""

    def quarantine(self, digest: Digest) -> None:
        """Move a damaged blob aside, where nothing serves it."""


class BlobNotFoundError(HubsyncError):
    """The store does not hold this blob."""

    exit_code = ExitCode.NOT_FOUND

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        super().__init__(f"the store does not hold {digest}")


class BlobCorruptError(IntegrityError):
    """Bytes do not match the descriptor they were fetched for.

    Retryable: a proxy may have cut the body.  The transfer engine retries
    once; a second mismatch is reported, because then upstream itself is wrong.
    """

    retryable = True

    def __init__(self, want: Descriptor, got: str, got_size_bytes: int) -> None:
        self.want, self.got, self.got_size_bytes = want, got, got_size_bytes
        super().__init__(
            f"expected {want} ({want.size_bytes} bytes), "
            f"got {got} ({got_size_bytes} bytes)"
        )


class NoRoomError(HubsyncError):
    """The disk, its inodes, or the configured reserve is used up."""

    exit_code = ExitCode.NO_ROOM


class StoreBusyError(HubsyncError):
    """Another process holds the lock that this needs."""

    exit_code = ExitCode.BUSY


class StoreReadOnlyError(HubsyncError):
    """The store cannot be written."""

    exit_code = ExitCode.FAILED


class StoreLayoutError(HubsyncError):
    """The folder is no hubsync store, or one of a newer layout."""

    exit_code = ExitCode.USAGE
