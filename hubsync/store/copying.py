"""Getting a blob's bytes into a file: shared with the store, or copied."""

import fcntl
import hashlib
import os
from io import RawIOBase
from typing import BinaryIO

from hubsync.model.digest import Digest
from hubsync.model.errors import IntegrityError
from hubsync.model.units import MIB
from hubsync.store.local import LocalBlobs

_FICLONE = 0x40049409  # linux/fs.h


class Copier:
    """Makes new files with a blob's bytes, each of them hashed on the way."""

    def __init__(self, blobs: LocalBlobs, *, link: bool) -> None:
        self._blobs = blobs
        self._link = self._reflinks = link
        self.hard_links = self.copies = 0

    def place(self, folder: int, name: str, digest: Digest) -> None:
        """Make *name* in *folder* the blob.

        Raises:
            IntegrityError: the store's copy is damaged; *name* may be there then.
        """
        with self._blobs.open(digest) as source:
            if self._share(folder, name, source, digest):
                found = read_sha256(source)
            else:
                self.copies += 1
                with os.fdopen(_create(folder, name), "wb", buffering=0) as file:
                    found = read_sha256(source, copy_to=file)
        if found != digest.hex:
            raise IntegrityError(
                f"the blob {digest} is damaged on disk",
                hint="Mend it with: hubsync verify --all --repair",
            )

    def write(self, folder: int, name: str, data: bytes) -> None:
        """Make *name* in *folder* a file of *data*."""
        with os.fdopen(_create(folder, name), "wb") as file:
            file.write(data)

    def _share(self, folder: int, name: str, source: BinaryIO, digest: Digest) -> bool:
        # A file system that knows no reflinks will not know them for the next.
        self._reflinks = self._reflinks and _reflink(folder, name, source)
        return self._reflinks or (self._link and self._hard_link(folder, name, digest))

    def _hard_link(self, folder: int, name: str, digest: Digest) -> bool:
        try:
            os.link(self._blobs.path(digest), name, dst_dir_fd=folder)
        except OSError:
            return False  # another file system, or one without links
        self.hard_links += 1
        return True


def read_sha256(source: BinaryIO, *, copy_to: RawIOBase | None = None) -> str:
    """Hex of what is left to read in *source*, written to *copy_to* as well."""
    sha256 = hashlib.sha256()
    block = memoryview(bytearray(MIB))
    while size := source.readinto(block):  # type: ignore[attr-defined]
        sha256.update(block[:size])
        rest = block[:size]
        while copy_to and rest:
            rest = rest[copy_to.write(rest) :]
    return sha256.hexdigest()


def _reflink(folder: int, name: str, source: BinaryIO) -> bool:
    fd = _create(folder, name)
    try:
        fcntl.ioctl(fd, _FICLONE, source.fileno())
    except OSError:
        os.unlink(name, dir_fd=folder)  # this file system shares no bytes
        return False
    finally:
        os.close(fd)
    return True


def _create(folder: int, name: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o666, dir_fd=folder)
