"""Hashing a file's bytes in order, also while they arrive out of order."""

import hashlib
import os

from hubsync.model.digest import Descriptor, Digest, GitOid, git_header
from hubsync.model.units import MIB
from hubsync.ports.blobs import Block

_BLOCK_BYTES = MIB


class BlobHash:
    """sha256 of a blob so far, and its git object id when that is asked for."""

    def __init__(self, want: Descriptor) -> None:
        self.at = 0  # bytes hashed
        self._sha256 = hashlib.sha256()
        self._sha1 = (
            hashlib.sha1(git_header(want.size_bytes))  # noqa: S324 - git's choice
            if want.git_oid
            else None
        )

    def update(self, block: Block) -> None:
        self._sha256.update(block)
        if self._sha1 is not None:
            self._sha1.update(block)
        self.at += len(block)

    def read_on(self, fd: int, stop: int) -> int:
        """Hash what *fd* has from here up to *stop*; the bytes that there were."""
        buffer = memoryview(bytearray(min(_BLOCK_BYTES, max(stop - self.at, 0))))
        began = self.at
        while self.at < stop:
            got = os.preadv(fd, [buffer[: stop - self.at]], self.at)
            if not got:
                break  # the file is shorter than was said
            self.update(buffer[:got])
        return self.at - began

    @property
    def digest(self) -> Digest:
        return Digest(self._sha256.hexdigest())

    @property
    def git_oid(self) -> GitOid | None:
        return GitOid(self._sha1.hexdigest()) if self._sha1 else None
