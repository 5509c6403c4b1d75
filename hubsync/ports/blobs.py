"""Write-once bytes, addressed by digest."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.model.errors import ExitCode, HubsyncError, IntegrityError
from hubsync.model.spans import Span


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """A blob that is durable in the store, with both of its names."""

    digest: Digest
    size_bytes: int
    git_oid: GitOid | None = None


Block = bytes | bytearray | memoryview


class Ingest(Protocol):
    """An unfinished blob.  One holder at a time, across processes.

    Life: ``begin -> write* -> verify -> BlobStore.publish``, or ``abort`` at any
    point: it keeps what was written, for a later `begin` of the same descriptor
    to go on from.  `write` and `hash_ahead` may run in several threads at once;
    the other methods want all of them to be over.
    """

    @property
    def want(self) -> Descriptor:
        """What is being brought in."""

    @property
    def offset(self) -> int:
        """Bytes that are there from the first on without a gap."""

    def missing(self) -> list[Span]:
        """What is not there yet, in order."""

    def reader(self) -> BinaryIO:
        """What is there, unbuffered, to be read while the rest comes.

        Good to the end of the blob's life, under whatever name; nothing of it is
        verified before `verify` has said so.
        """

    def write(self, block: Block | Sequence[Block], at: int | None = None) -> None:
        """Append *block*, or write it *at* an offset.

        Raises:
            BlobCorruptError: more bytes than the descriptor's size (they are in
                quarantine already, if nothing was written at an offset).
            NoRoomError: the disk, its inodes or the reserve is used up.
        """

    def write_from(self, pipe: int, size_bytes: int, at: int) -> None:
        """Write *at* an offset what a pipe, a descriptor, holds: *size_bytes*.

        Nothing else may be in it.  After an error some of them may still be.

        Raises:
            BlobCorruptError, NoRoomError: as `write`.
        """

    def hash_ahead(self, bytes_max: int) -> int:
        """Hash at most *bytes_max* of what is there without a gap; how many were.

        0: nothing to do now, or another thread is at it.
        """

    def checkpoint(self) -> None:
        """Make what is written survive a power cut."""

    def verify(self) -> HeldBlob:
        """Hash the rest; compare size and digests.

        Raises:
            BlobCorruptError: after moving the bytes to quarantine; the next
                `begin` starts at 0.
        """

    @property
    def verified(self) -> HeldBlob | None:
        """What `verify` found, once it has."""

    def complete(self) -> HeldBlob:
        """`verify`, then publish this one blob.

        Raises:
            BlobCorruptError: as `verify`.
        """

    def reject(self, why: str) -> "BlobCorruptError":
        """Move the bytes to quarantine: they are not what was asked for."""

    def restart(self) -> None:
        """Drop what was written; ``offset`` is 0 again."""

    def abort(self) -> None:
        """Let go, keeping the partial.  Harmless after the blob is complete."""


class BlobStore(Protocol):
    """Where blobs live.  Methods block: call them from a thread in async code.

    A blob lives ``begin -> write* -> verify -> publish -> open* -> remove``.
    Before ``publish`` returns nobody may count on it; after, it survives power
    loss.
    """

    def begin(
        self, want: Descriptor, *, wait: bool = True
    ) -> "Ingest | HeldBlob | None":
        """Start or resume the ingest of *want*.

        While another process or thread ingests the same descriptor this blocks,
        or returns None if *wait* is off.  It returns the `HeldBlob` when the
        blob is there, also when that other one completed it meanwhile (known
        only for descriptors with a digest).
        """

    def publish(self, ingests: "Sequence[Ingest]") -> None:
        """Make verified *ingests* durable and give them their final names.

        As one group: their bytes are synced, then renamed, then the folders are
        synced, so that a thousand small files cost little more than one.  After
        an error none of them may be counted on; they have let go of their locks.
        """

    def has(self, digest: Digest, size_bytes: int | None = None) -> bool:
        """Whether the blob is there (and has that size)."""

    def open(self, digest: Digest) -> BinaryIO:
        """The blob's bytes, unbuffered, positioned at 0; has a ``fileno``.

        Raises:
            BlobNotFoundError: it is not there.
        """

    def read(self, digest: Digest, size_bytes: int) -> bytes | None:
        """All bytes of a small blob; None: it is not there, or has another size.

        Raises:
            OSError: it cannot be read.
        """

    def partial_bytes(self, want: Descriptor) -> int:
        """Bytes of *want* already fetched by an interrupted ingest."""

    def check_room(self, wants: Iterable[Descriptor]) -> None:
        """Raise unless all of *wants* fit, as far as can be known beforehand.

        Raises:
            NoRoomError: with what they need, what is free and what is kept free.
        """

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


class FileTooLargeError(NoRoomError):
    """The file system, or a limit on us, takes no file of this size.

    The fault of one file: there may be room for the others.
    """


class StoreBusyError(HubsyncError):
    """Another process holds the lock that this needs."""

    exit_code = ExitCode.BUSY


class StoreReadOnlyError(HubsyncError):
    """The store cannot be written."""

    exit_code = ExitCode.FAILED


class StoreLayoutError(HubsyncError):
    """The folder is no hubsync store, or one of a newer layout."""

    exit_code = ExitCode.USAGE
