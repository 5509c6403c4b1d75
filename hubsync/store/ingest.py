"""One unfinished blob."""

import hashlib
import os

from hubsync.model.digest import Descriptor, Digest, GitOid, git_header
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobCorruptError, HeldBlob
from hubsync.store.disk import check_room, explain, explained, is_out_of_room
from hubsync.store.lock import is_still, open_locked
from hubsync.store.shelf import Shelf

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
        self, shelf: Shelf, want: Descriptor, fd: int, reserve_bytes: int
    ) -> None:
        self._shelf, self._want, self._fd = shelf, want, fd
        self._reserve_bytes = reserve_bytes
        self._path = shelf.root.partial / want.key
        self._offset = 0
        self._unchecked = 0
        self._reset_hashes()

    @classmethod
    def open(cls, shelf: Shelf, want: Descriptor, reserve_bytes: int) -> "LocalIngest":
        """Lock the partial of *want*, waiting for whoever has it."""
        path = shelf.root.partial / want.key
        with explained(path):
            fd = open_locked(path)
        return cls(shelf, want, fd, reserve_bytes)

    @property
    def offset(self) -> int:
        return self._offset

    def resume(self) -> None:
        """Take up what an earlier ingest wrote."""
        with explained(self._path):
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

    def write(self, block: bytes | memoryview) -> None:
        """As `Ingest.write`."""
        self._require_open()
        if self._offset + len(block) > self._want.size_bytes:
            got = self._offset + len(block)
            self._put_aside()
            raise BlobCorruptError(self._want, "more bytes than that", got)
        self._check_room(len(block))
        view = memoryview(block)
        while view:
            try:
                written = os.pwrite(self._fd, view, self._offset)
            except OSError as error:
                if not is_out_of_room(error):
                    # Nobody knows what such a disk kept of what it took before.
                    self.discard()
                raise explain(error, self._path) from error
            self._hash(view[:written])
            self._offset += written
            view = view[written:]

    def complete(self) -> HeldBlob:
        """As `Ingest.complete`."""
        self._require_open()
        digest = Digest(self._sha256.hexdigest())
        oid = GitOid(self._sha1.hexdigest()) if self._want.git_oid else None
        if (
            self._offset != self._want.size_bytes
            or (self._want.digest and digest != self._want.digest)
            or (self._want.git_oid and oid != self._want.git_oid)
        ):
            wrong_oid = self._want.digest in (None, digest)
            got = f"git:{oid}" if oid and wrong_oid else str(digest)
            size = self._offset
            self._put_aside()
            raise BlobCorruptError(self._want, got, size)
        try:
            self._sync()
            with explained(self._path):
                os.fchmod(self._fd, BLOB_MODE)
                self._shelf.put(self._path, digest, self._want.size_bytes)
        finally:
            self.abort()
        return HeldBlob(digest, self._want.size_bytes, oid)

    def restart(self) -> None:
        """As `Ingest.restart`."""
        self._require_open()
        with explained(self._path):
            os.ftruncate(self._fd, 0)
        self._offset = 0
        self._reset_hashes()

    def abort(self) -> None:
        """As `Ingest.abort`."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def discard(self) -> None:
        """Let go and keep nothing."""
        if self._fd < 0:
            return
        try:
            with explained(self._path):
                # Once ours has another name, this one may be another process's.
                if is_still(self._path, self._fd):
                    self._path.unlink()
        finally:
            self.abort()

    def _sync(self) -> None:
        try:
            os.fsync(self._fd)
        except OSError as error:
            # The kernel may have dropped the dirty pages: a second fsync would
            # say yes to bytes that are gone.  Never retry; start over.
            self.discard()
            raise explain(error, self._path) from error

    def _require_open(self) -> None:
        # Without the lock, the name may be somebody else's partial by now.
        assert self._fd >= 0, "an ingest ends with complete, abort or an error"

    def _check_room(self, block_bytes: int) -> None:
        self._unchecked += block_bytes
        if self._unchecked >= ROOM_CHECK_BYTES:
            self._unchecked = 0
            need_bytes = self._want.size_bytes - self._offset
            check_room(self._path.parent, need_bytes, self._reserve_bytes)

    def _put_aside(self) -> None:
        """Move the bytes where nothing serves or resumes them."""
        try:
            with explained(self._path):
                self._shelf.root.set_aside(self._path, self._want.key)
        finally:
            self.discard()

    def _reset_hashes(self) -> None:
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(git_header(self._want.size_bytes))  # noqa: S324 - git's choice

    def _hash(self, block: bytes | memoryview) -> None:
        self._sha256.update(block)
        if self._want.git_oid:
            self._sha1.update(block)
