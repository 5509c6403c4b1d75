"""Progress of blobs that are hashed: the large ones piece by piece."""

from collections import Counter

from hubsync.model.digest import Digest
from hubsync.ports.blobs import HeldBlob
from hubsync.ports.progress import Progress


class HashingProgress:
    """Tells a `Progress` of each blob as of a file, under its digest."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told: Counter[Digest] = Counter()

    def hashed(self, blob: HeldBlob, size_bytes: int) -> None:
        """So many more bytes of *blob* have been read."""
        name = str(blob.digest)
        if blob.digest not in self._told:
            self._progress.file_started(name, blob.size_bytes, 0)
        self._told[blob.digest] += size_bytes
        self._progress.file_advanced(name, size_bytes)
        self._progress.file_verified(name, size_bytes)

    def checked(self, blob: HeldBlob) -> None:
        """*blob* has been read to its end, or as far as it goes."""
        self.hashed(blob, blob.size_bytes - self._told[blob.digest])
        del self._told[blob.digest]
        self._progress.file_done(str(blob.digest))
