"""Hashing a file's bytes in order, also while they arrive out of order."""

import os

from hubsync.model.blob_hash import BlobHash
from hubsync.model.units import MIB

_BLOCK_BYTES = MIB


class FileHash(BlobHash):
    """As `BlobHash`, of what is in a file."""

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
