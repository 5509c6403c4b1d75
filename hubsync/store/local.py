"""Blobs as read-only files named by their digest.

The publish protocol: write a partial, hash it as it comes, compare, fsync the
file, rename it to its final name, fsync the folder.  Only then does it exist.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from hubsync.model.digest import Descriptor, Digest
from hubsync.ports.blobs import (
    BlobNotFoundError,
    HeldBlob,
    Ingest,
    NoRoomError,
    StoreReadOnlyError,
)
from hubsync.store.disk import check_room, explained, sync_folder
from hubsync.store.groups import publish
from hubsync.store.ingest import LocalIngest
from hubsync.store.journal import journal_of, read_journal
from hubsync.store.layout import StoreRoot
from hubsync.store.lock import wait_for_holder
from hubsync.store.room import Room
from hubsync.store.shelf import Shelf


class LocalBlobs:
    """A `BlobStore` in a folder.

    *reserve_bytes* stay free: an ingest that would use them up is refused.
    *room_in* is where `check_room` looks, for the plan of a store that is not there.
    """

    def __init__(
        self, root: StoreRoot, *, reserve_bytes: int = 0, room_in: Path | None = None
    ) -> None:
        self.root = root
        self._room_in = room_in or root.partial
        self._shelf = Shelf(root)
        self._reserve_bytes = reserve_bytes
        self._room = Room(root.partial, reserve_bytes)

    def close(self) -> None:
        """Let go of the file system.  What is begun after opens it again."""
        self._shelf.watch.close()

    def path(self, digest: Digest) -> Path:
        """Where the blob is, if it is there."""
        return self._shelf.path(digest)

    def begin(
        self, want: Descriptor, *, wait: bool = True
    ) -> LocalIngest | HeldBlob | None:
        """As `BlobStore.begin`."""
        self._require_writable()
        if held := self._held(want):
            return held
        # Alone, and before there is a partial: another thread may have set aside
        # room for this very blob.
        need_bytes = want.size_bytes - self.partial_bytes(want)
        check_room(self.root.partial, need_bytes, self._reserve_bytes)
        ingest = LocalIngest.open(self._shelf, want, self._room, wait=wait)
        if ingest is None:
            return None
        try:
            # Whoever held the partial before us may have completed it meanwhile.
            if held := self._held(want):
                ingest.discard()
                return held
            ingest.resume()
        except BaseException:
            if ingest.is_empty:
                ingest.discard()
            ingest.abort()
            raise
        return ingest

    def publish(self, ingests: Sequence[Ingest]) -> None:
        """As `BlobStore.publish`."""
        self._require_writable()
        ours = [one for one in ingests if isinstance(one, LocalIngest)]
        assert len(ours) == len(ingests), "a store publishes what it began"
        publish(self._shelf, ours)

    def has(self, digest: Digest, size_bytes: int | None = None) -> bool:
        held_bytes = self._shelf.size(digest)
        return held_bytes is not None and size_bytes in (None, held_bytes)

    def open(self, digest: Digest) -> BinaryIO:
        """As `BlobStore.open`."""
        try:
            return open(self._shelf.name(digest), "rb", buffering=0)  # noqa: PTH123 - FileIO for sendfile, closed by the caller
        except FileNotFoundError:
            raise BlobNotFoundError(digest) from None

    def read(self, digest: Digest, size_bytes: int) -> bytes | None:
        """As `BlobStore.read`."""
        # A file object would double the cost, half of which is opening the file.
        try:
            file = os.open(self._shelf.name(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            found = os.pread(file, size_bytes + 1, 0)  # one more than there may be
        finally:
            os.close(file)
        return found if len(found) == size_bytes else None

    def partial_bytes(self, want: Descriptor) -> int:
        partial = self.root.partial / want.key
        with explained(partial):
            there = read_journal(journal_of(partial))
            try:
                size = partial.stat().st_size
            except FileNotFoundError:
                return 0
        size = size if there is None else there.total
        return size if size <= want.size_bytes else 0

    def check_room(self, wants: Iterable[Descriptor]) -> None:
        """As `BlobStore.check_room`."""
        wants = list(wants)
        if not wants:
            return  # a version of which all is held needs none, however full it is
        need_bytes = sum(want.size_bytes for want in wants)
        try:
            check_room(self._room_in, need_bytes, self._reserve_bytes)
        except NoRoomError:
            # Mostly it fits anyway: only now each is looked for on the disk.
            need_bytes -= sum(self.partial_bytes(want) for want in wants)
            check_room(self._room_in, need_bytes, self._reserve_bytes)

    def digests(self) -> Iterator[Digest]:
        return self._shelf.digests()

    def remove(self, digest: Digest) -> int:
        """As `BlobStore.remove`.  Links in views keep the bytes: drop them first."""
        self._require_writable()
        path = self.path(digest)
        trashed = self.root.trash / digest.hex
        with explained(path):
            try:
                size = path.stat().st_size
                path.rename(trashed)
            except (FileNotFoundError, NotADirectoryError):
                return 0
            sync_folder(path.parent)
            trashed.unlink(missing_ok=True)
        return size

    def quarantine(self, digest: Digest) -> None:
        self._require_writable()
        path = self.path(digest)
        with explained(path):
            try:
                self.root.set_aside(path, f"sha256-{digest.hex}")
            except FileNotFoundError:
                return
            sync_folder(path.parent)

    def _held(self, want: Descriptor) -> HeldBlob | None:
        if want.digest is None or not self.has(want.digest, want.size_bytes):
            return None
        path = self.path(want.digest)
        with explained(path):
            # If its disk failed, whoever is publishing it takes it back.
            wait_for_holder(path)
            if not self.has(want.digest, want.size_bytes):
                return None
            self._shelf.confirm(want.digest)
        # Its git object id, if it was asked for too, was never compared.
        return HeldBlob(want.digest, want.size_bytes)

    def _require_writable(self) -> None:
        if self.root.read_only:
            raise StoreReadOnlyError(
                f"the store {self.root.path} was opened for reading only"
            )
