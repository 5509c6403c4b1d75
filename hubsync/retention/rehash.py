"""Hashing held blobs again, on all cores, and telling how far that has come."""

import errno
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobNotFoundError, BlobStore, HeldBlob

BATCH_BYTES = 8 * MIB
BATCH_BLOBS = 64
PIECE_BYTES = 16 * MIB
MISSING = "missing"
# What says nothing about the blob.
_OUR_LACK = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

Found = tuple[HeldBlob, str | None]  # a blob, and what is wrong with it
Hashed = Callable[[HeldBlob, int], None]


def inspected(
    blobs: BlobStore, wanted: Iterable[HeldBlob], hashed: Hashed
) -> Generator[Found, None, None]:
    """Each of *wanted* with what is wrong with it, as it is found.

    In no order: who waited for the first of them, a large one, would soon have only
    that one read.  *hashed* is called in between, in the caller's thread, with a
    large blob and how many more bytes of it have been read.
    """
    threads = os.cpu_count() or 1
    readers = _Readers(blobs)
    ahead: set[Future[list[Found]]] = set()
    with ThreadPoolExecutor(threads, "verify") as pool:
        try:
            for batch in _batches(wanted):
                future = pool.submit(readers.inspect_all, batch)
                ahead.add(future)
                future.add_done_callback(readers.told.put)
                if len(ahead) > 2 * threads:
                    yield from readers.next(ahead, hashed)
            while ahead:
                yield from readers.next(ahead, hashed)
        finally:  # Ctrl-C is not to wait for files of many GB
            readers.stopped.set()
            for future in ahead:
                future.cancel()


def inspect(blobs: BlobStore, blob: HeldBlob) -> str | None:
    """Read one blob; what is wrong with it, or None."""
    return _inspect(blobs, blob, lambda _: None)


def _batches(wanted: Iterable[HeldBlob]) -> Iterator[list[HeldBlob]]:
    """So much for a thread that asking it costs next to nothing."""
    batch: list[HeldBlob] = []
    size = 0
    for blob in wanted:
        batch.append(blob)
        size += blob.size_bytes
        if size >= BATCH_BYTES or len(batch) >= BATCH_BLOBS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _StoppedError(Exception):
    """Nobody wants to know any more."""


class _Readers:
    """What the threads read, and what they tell the one who waits for them."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        # How much of a blob was read; and each batch when it is done.
        self.told: queue.SimpleQueue[tuple[HeldBlob, int] | Future[list[Found]]] = (
            queue.SimpleQueue()
        )
        self.stopped = threading.Event()

    def inspect_all(self, batch: Sequence[HeldBlob]) -> list[Found]:
        return [(blob, self._inspect(blob)) for blob in batch]

    def next(self, ahead: set[Future[list[Found]]], hashed: Hashed) -> list[Found]:
        """What the next of *ahead* comes to; what is told before goes to *hashed*."""
        while not isinstance(told := self.told.get(), Future):
            hashed(*told)
        ahead.remove(told)
        return told.result()

    def _inspect(self, blob: HeldBlob) -> str | None:
        def tell(size_bytes: int) -> None:
            if self.stopped.is_set():
                raise _StoppedError
            self.told.put((blob, size_bytes))

        return _inspect(self._blobs, blob, tell)


def _inspect(
    blobs: BlobStore, blob: HeldBlob, tell: Callable[[int], None]
) -> str | None:
    try:
        with blobs.open(blob.digest) as file:
            counted = _Counted(file, tell) if blob.size_bytes >= PIECE_BYTES else file
            found = hashlib.file_digest(counted, "sha256").hexdigest()  # type: ignore[arg-type]
            size = file.tell()
    except BlobNotFoundError:
        return MISSING
    except OSError as error:
        if error.errno in _OUR_LACK:
            raise
        return f"unreadable ({error.strerror})"
    if size != blob.size_bytes:
        return f"{size} bytes long instead of {blob.size_bytes}"
    if found != blob.digest.hex:
        return f"sha256:{found}"
    return None


class _Counted:
    """A file that tells how much of it was read; as much of one as is hashed by."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file, self._tell, self._untold = file, tell, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        # The port's files are unbuffered: they can read into a buffer.
        size: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._untold += size
        if self._untold >= PIECE_BYTES:
            self._tell(self._untold)
            self._untold = 0
        return size
