"""Blobs as read-only files named by their digest.

The publish protocol: write a partial, hash it as it comes, compare, fsync the
file, rename it to its final name, fsync the folder.  Only then does it exist.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hubsync.model.digest import Descriptor, Digest, InvalidDigestError
from hubsync.ports.blobs import BlobNotFoundError, HeldBlob
from hubsync.store.disk import check_room, explained, sync_folder
from hubsync.store.ingest import LocalIngest
from hubsync.store.layout import StoreRoot


class LocalBlobs:
    """A `BlobStore` in a folder.

    *reserve_bytes* stay free: an ingest that would use them up is refused.
    """

    def __init__(self, root: StoreRoot, *, reserve_bytes: int = 0) -> None:
        self.root = root
        self._reserve_bytes = reserve_bytes

    def path(self, digest: Digest) -> Path:
        """Where the blob is, if it is there."""
        name = digest.hex  # 64 hex by construction: never a path
        return self.root.blobs / name[:2] / name[2:4] / name

    def begin(self, want: Descriptor) -> LocalIngest | HeldBlob:
        """As `BlobStore.begin`."""
        if want.digest and self.has(want.digest, want.size_bytes):
            return HeldBlob(want.digest, want.size_bytes, want.git_oid)
        check_room(
            self.root.partial,
            max(0, want.size_bytes - self.partial_bytes(want)),
            self._reserve_bytes,
        )
        ingest = LocalIngest.open(self.root, want, self.path, self._reserve_bytes)
        # Whoever held the partial before us may have completed it meanwhile.
        if want.digest and self.has(want.digest, want.size_bytes):
            ingest.discard()
            return HeldBlob(want.digest, want.size_bytes, want.git_oid)
        return ingest

    def has(self, digest: Digest, size_bytes: int | None = None) -> bool:
        try:
            size = self.path(digest).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        return size_bytes is None or size == size_bytes

    def open(self, digest: Digest) -> BinaryIO:
        """As `BlobStore.open`."""
        try:
            return open(self.path(digest), "rb", buffering=0)  # noqa: PTH123 - FileIO for sendfile, closed by the caller
        except FileNotFoundError:
            raise BlobNotFoundError(digest) from None

    def partial_bytes(self, want: Descriptor) -> int:
        try:
            return (self.root.partial / want.key).stat().st_size
        except FileNotFoundError:
            return 0

    def digests(self) -> Iterator[Digest]:
        for folder in sorted(self.root.blobs.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                try:
                    yield Digest(path.name)
                except InvalidDigestError:
                    continue  # not one of ours: neither served nor deleted

    def remove(self, digest: Digest) -> int:
        """As `BlobStore.remove`.  Links in views keep the bytes: drop them first."""
        path = self.path(digest)
        trashed = self.root.trash / digest.hex
        with explained(path):
            try:
                size = path.stat().st_size
                path.rename(trashed)
            except FileNotFoundError:
                return 0
            sync_folder(path.parent)
            trashed.unlink()
        return size

    def quarantine(self, digest: Digest) -> None:
        path = self.path(digest)
        with explained(path):
            name = f"sha256-{digest.hex}.{time.time_ns()}"
            try:
                path.rename(self.root.quarantine / name)
            except FileNotFoundError:
                return
            sync_folder(path.parent)
            os.chmod(self.root.quarantine / name, 0o400)  # noqa: PTH101 - one call
