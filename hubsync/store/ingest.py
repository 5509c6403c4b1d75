"""One unfinished blob."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from hubsync.model.digest import Descriptor, Digest, GitOid, git_header
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobCorruptError, HeldBlob
from hubsync.store.disk import check_room, explained, make_folders, sync_folder
from hubsync.store.layout import StoreRoot

READ_BLOCK_BYTES = MIB
ROOM_CHECK_BYTES = 64 * MIB
BLOB_MODE = 0o444


class LocalIngest:
    """A partial file, locked for as long as this object holds it.

    The lock is the kernel's: a process that dies lets go, and the next one goes
    on from the bytes that are there.  They are hashed again first, so what a
    crash did to them is found at the latest by `complete`.
    """

    def __init__(
        self,
        root: StoreRoot,
        want: Descriptor,
        fd: int,
        final: Callable[[Digest], Path],
        reserve_bytes: int,
    ) -> None:
        self._root, self._want, self._fd = root, want, fd
        self._final, self._reserve_bytes = final, reserve_bytes
        self._path = root.partial / want.key
        self._offset = 0
        self._unchecked = 0
        self._reset_hashes()

    @classmethod
    def open(
        cls,
        root: StoreRoot,
        want: Descriptor,
        final: Callable[[Digest], Path],
        reserve_bytes: int,
    ) -> "LocalIngest":
        """Lock the partial of *want*, waiting for whoever has it."""
        path = root.partial / want.key
        with explained(path):
            fd = _open_locked(path)
        ingest = cls(root, want, fd, final, reserve_bytes)
        try:
            with explained(path):
                ingest._rehash()
        except BaseException:
            ingest.abort()
            raise
        return ingest

    @property
    def offset(self) -> int:
        return self._offset

    def write(self, block: bytes | memoryview) -> None:
        """As `Ingest.write`."""
        if self._offset + len(block) > self._want.size_bytes:
            got = self._offset + len(block)
            self._put_aside()
            raise BlobCorruptError(self._want, "more bytes than that", got)
        self._unchecked += len(block)
        if self._unchecked >= ROOM_CHECK_BYTES:
            self._unchecked = 0
            check_room(self._root.partial, len(block), self._reserve_bytes)
        with explained(self._path):
            view = memoryview(block)
            while view:
                written = os.pwrite(self._fd, view, self._offset)
                self._hash(view[:written])
                self._offset += written
                view = view[written:]

    def complete(self) -> HeldBlob:
        """As `Ingest.complete`."""
        digest = Digest(self._sha256.hexdigest())
        oid = GitOid(self._sha1.hexdigest()) if self._want.git_oid else None
        if (
            self._offset != self._want.size_bytes
            or (self._want.digest and digest != self._want.digest)
            or (self._want.git_oid and oid != self._want.git_oid)
        ):
            got = str(digest) if self._want.digest else f"git:{oid}"
            size = self._offset
            self._put_aside()
            raise BlobCorruptError(self._want, got, size)
        self._publish(digest)
        return HeldBlob(digest, self._want.size_bytes, self._want.git_oid)

    def restart(self) -> None:
        with explained(self._path):
            os.ftruncate(self._fd, 0)
        self._offset = 0
        self._reset_hashes()

    def abort(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Let go and keep nothing."""
        self._path.unlink(missing_ok=True)
        self.abort()

    def _publish(self, digest: Digest) -> None:
        final = self._final(digest)
        with explained(self._path):
            try:
                os.fsync(self._fd)
            except OSError:
                # The kernel may have dropped the dirty pages: a second fsync
                # would say yes to bytes that are gone.  Never retry; start over.
                self._path.unlink(missing_ok=True)
                raise
            os.fchmod(self._fd, BLOB_MODE)
            make_folders(final.parent, self._root.path)
            self._path.rename(final)
            sync_folder(final.parent)
        self.abort()

    def _put_aside(self) -> None:
        """Move the bytes where nothing serves or resumes them."""
        with explained(self._path):
            name = f"{self._want.key}.{time.time_ns()}"
            self._path.rename(self._root.quarantine / name)
        self.abort()

    def _rehash(self) -> None:
        size = os.fstat(self._fd).st_size
        if size > self._want.size_bytes:
            self.restart()
            return
        while self._offset < size:
            block = os.pread(self._fd, READ_BLOCK_BYTES, self._offset)
            if not block:
                break
            self._hash(block)
            self._offset += len(block)

    def _reset_hashes(self) -> None:
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(git_header(self._want.size_bytes))  # noqa: S324 - git's choice

    def _hash(self, block: bytes | memoryview) -> None:
        self._sha256.update(block)
        if self._want.git_oid:
            self._sha1.update(block)


def _open_locked(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_still(path, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        # Completed or put aside while we waited: lock the file of that name now.
        os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))
