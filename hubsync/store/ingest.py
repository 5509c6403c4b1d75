"""One unfinished blob."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from hubsync.model.digest import Descriptor
from hubsync.model.errors import HubsyncError
from hubsync.model.spans import Span, Spans
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobCorruptError, Block, HeldBlob
from hubsync.store.disk import explain, explained, is_out_of_room, sync_folder
from hubsync.store.handle import Handle
from hubsync.store.hashing import FileHash
from hubsync.store.journal import Journal, journal_of, read_journal
from hubsync.store.lock import is_still, open_locked, open_locked_now
from hubsync.store.room import Room
from hubsync.store.shelf import Shelf
from hubsync.store.writing import move_all, write_all

ROOM_CHECK_BYTES = 64 * MIB
HASH_INLINE_BYTES = 8 * MIB  # smaller blobs are hashed as they are written
BLOB_MODE = 0o444


class LocalIngest:
    """A partial file, locked for as long as this object holds it.

    The lock is the kernel's: a process that dies lets go, and the next one goes
    on from the bytes that are there.  They are hashed again, behind the write
    head, so what a crash did to them is found at the latest by `verify`.
    """

    def __init__(
        self, shelf: Shelf, want: Descriptor, fd: int, room: Room, since: int
    ) -> None:
        self._shelf, self._want, self._room = shelf, want, room
        self.since = since  # of the shelf's watch
        self.was_resumed = False  # from bytes that nobody has made durable yet
        self._file = Handle(fd)
        self._path = shelf.root.partial / want.key
        self._has_journal = True  # until it is known that there is none on disk
        self._there = Spans()
        self._durable = Spans()  # of it, what the last checkpoint made so
        self._journal: Journal | None = None
        # _there, _journal, _promised, _unchecked.  Taken after _hashing, if both.
        self._noting = threading.Lock()
        self._hashing = threading.Lock()  # _hash
        self._promised_bytes = 0  # of the room, for what is not there yet
        self._unchecked = 0
        self._hash = FileHash(want)
        self._verified: HeldBlob | None = None

    @classmethod
    def open(
        cls, shelf: Shelf, want: Descriptor, room: Room, *, wait: bool = True
    ) -> "LocalIngest | None":
        """Lock the partial of *want*, waiting for whoever has it, or not (None)."""
        path = shelf.root.partial / want.key
        with explained(path):
            since = shelf.watch.begin()
            fd = open_locked(path) if wait else open_locked_now(path)
        return None if fd is None else cls(shelf, want, fd, room, since)

    @property
    def want(self) -> Descriptor:
        return self._want

    @property
    def offset(self) -> int:
        with self._noting:
            return self._there.reach

    @property
    def path(self) -> Path:
        """The partial, which nobody may touch while this is open."""
        return self._path

    @property
    def is_empty(self) -> bool:
        """Whether the partial has no byte worth keeping."""
        with self._file.use() as fd:
            return not os.fstat(fd).st_size

    def missing(self) -> list[Span]:
        with self._noting:
            return self._there.missing(self._want.size_bytes)

    def reader(self) -> BinaryIO:
        """As `Ingest.reader`."""
        # Locked, so the name still stands for our file.
        with self._file.use(), explained(self._path):
            return self._path.open("rb", buffering=0)

    def resume(self) -> None:
        """Take up what an earlier ingest wrote, and have room for the rest.

        Raises:
            NoRoomError: it would not fit.
        """
        with self._file.use() as fd, explained(self._path):
            self._take_up(fd, os.fstat(fd).st_size)
        self._promise_rest()

    def _take_up(self, fd: int, length: int) -> None:
        if not length:
            with self._noting:
                self._drop_journal()
            return
        there = read_journal(journal_of(self._path))
        if there is None:
            self._has_journal = False
            there = Spans([(0, length)])
        if max(length, there.end) > self._want.size_bytes or there.end > length:
            self.restart()
            return
        self._there = there
        self.was_resumed = not self._has_journal
        if self._has_journal:
            # It may have died before it came to that; see `_prepare`.
            os.ftruncate(fd, self._want.size_bytes)
            # Durable from here on, or a new journal would promise less than
            # the one that it replaces.
            self._sync(fd, os.fdatasync)
            self._journal = Journal(journal_of(self._path), there, there)

    def _promise_rest(self) -> None:
        with self._noting:
            self._room.settle(self._promised_bytes)
            self._promised_bytes = 0
            rest_bytes = self._want.size_bytes - self._there.total
            self._room.promise(rest_bytes)
            self._promised_bytes = rest_bytes

    def write(self, block: Block | Sequence[Block], at: int | None = None) -> None:
        """As `Ingest.write`."""
        with self._file.use() as fd:
            blocks = [block] if isinstance(block, Block) else list(block)
            size = sum(len(one) for one in blocks)
            start = self.offset if at is None else at
            with self._writing(fd, start, start + size):
                write_all(fd, blocks, start, holes=self._journal is not None)
            if at is None or self._want.size_bytes <= HASH_INLINE_BYTES:
                self._hash_inline(blocks, start)

    def write_from(self, pipe: int, size_bytes: int, at: int) -> None:
        """As `Ingest.write_from`."""
        with self._file.use() as fd, self._writing(fd, at, at + size_bytes):
            move_all(pipe, fd, at, size_bytes)

    def hash_ahead(self, bytes_max: int) -> int:
        """As `Ingest.hash_ahead`."""
        if not self._hashing.acquire(blocking=False):
            return 0
        try:
            return self._read_on(bytes_max)
        finally:
            self._hashing.release()

    def checkpoint(self) -> None:
        """As `Ingest.checkpoint`."""
        with self._file.use() as fd:
            with self._noting:
                durable = Spans(self._there)
                has_journal = self._journal is not None
            self._sync(fd, os.fdatasync)
            self._durable = durable
            if has_journal:
                with explained(self._path):
                    self._replace_journal(durable)

    def _replace_journal(self, durable: Spans) -> None:
        """Begin a journal that says *durable* is; writers wait for no disk."""
        fresh = Journal(journal_of(self._path), Spans(), durable, named=False)
        with self._noting:
            if self._journal is None:  # it has ended meanwhile
                fresh.discard()
                return
            fresh.take_over(self._there)
            self._journal.close()
            self._journal = fresh
        sync_folder(self._path.parent)

    def verify(self) -> HeldBlob:
        """As `Ingest.verify`."""
        with self._hashing:
            self._read_on(self._want.size_bytes)
        if (other := self._hash.other()) is not None:
            raise self.reject(other, self._hash.at)
        self._verified = HeldBlob(
            self._hash.digest, self._want.size_bytes, self._hash.git_oid
        )
        return self._verified

    def complete(self) -> HeldBlob:
        """As `Ingest.complete`."""
        held = self.verify()
        try:
            with self._file.use() as fd:
                self._sync(fd, os.fsync)
            with explained(self._path):
                path = self._path if self.put() else None
                self._shelf.make_durable({held.digest: path}, self.since)
        finally:
            self.abort()
        return held

    def opened(self) -> AbstractContextManager[int]:
        """The descriptor, for as long as this lasts."""
        return self._file.use()

    def put(self) -> bool:
        """Give the synced file its final name, as `Shelf.put`."""
        assert self._verified, "only what was verified is published"
        with self._file.use() as fd:
            os.fchmod(fd, BLOB_MODE)
            with self._noting:
                # Before the rename: a journal without its partial would speak for
                # the next partial of that name.  All bytes are there, so the
                # length will do.
                self._drop_journal()
            digest, size_bytes = self._verified.digest, self._want.size_bytes
            return self._shelf.put(self._path, digest, size_bytes)

    @property
    def verified(self) -> HeldBlob | None:
        """What `verify` found, once it has."""
        return self._verified

    def restart(self) -> None:
        """As `Ingest.restart`."""
        with self._file.use() as fd, self._hashing:
            with self._noting, explained(self._path):
                # The journal first: it must not speak of bytes that are gone.
                self._drop_journal()
                os.ftruncate(fd, 0)
                self._there, self._durable = Spans(), Spans()
            self._hash = FileHash(self._want)
            self._verified = None
            self._promise_rest()

    def reject(self, why: str, size_bytes: int | None = None) -> BlobCorruptError:
        """As `Ingest.reject`."""
        with self._noting:
            there_bytes = self._there.total
        size_bytes = there_bytes if size_bytes is None else size_bytes
        error = BlobCorruptError(self._want, why, size_bytes)
        with self._file.end(error) as fd:
            if fd is not None:
                try:
                    self._let_go(drop_journal=True)
                    with explained(self._path):
                        self._shelf.root.set_aside(self._path, self._want.key)
                finally:
                    self._unlink(fd)
        return error

    def abort(self) -> None:
        """As `Ingest.abort`."""
        with self._file.end() as fd:
            if fd is not None:
                self._let_go()

    def discard(self, why: HubsyncError | None = None) -> None:
        """Let go and keep nothing; whoever still writes is told *why*."""
        with self._file.end(why) as fd:
            if fd is not None:
                self._unlink(fd)
                self._let_go()

    def _let_go(self, *, drop_journal: bool = False) -> None:
        with self._noting:
            self._room.settle(self._promised_bytes)
            self._promised_bytes = 0
            if drop_journal:
                with explained(self._path):
                    self._drop_journal()
            elif self._journal is not None:
                self._journal.close()
                self._journal = None

    def _unlink(self, fd: int) -> None:
        with self._noting, explained(self._path):
            # Once ours has another name, this one may be another process's.
            if is_still(self._path, fd):
                self._drop_journal()
                self._path.unlink()

    def _prepare(self, fd: int, start: int) -> None:
        """Begin a journal before the first block behind a gap."""
        with self._noting:
            if self._journal is not None or start == self._there.reach:
                return
            # If another thread has ended this ingest, the journal of that name is
            # not ours to make.
            self._file.require_open()
            with explained(self._path):
                self._has_journal = True
                durable = self._durable if self._durable.total else None
                self._journal = Journal(journal_of(self._path), self._there, durable)
                # From now on the length says nothing; what is never written
                # because it is zeros must be there all the same.
                os.ftruncate(fd, self._want.size_bytes)

    def _note(self, start: int, stop: int) -> None:
        with self._noting:
            before = self._there.total
            self._there.add(start, stop)
            new_bytes = min(self._there.total - before, self._promised_bytes)
            self._promised_bytes -= new_bytes
            self._room.settle(new_bytes)
            if self._journal is not None:
                with explained(self._path):
                    self._journal.note(start, stop)

    @contextmanager
    def _writing(self, fd: int, start: int, stop: int) -> Iterator[None]:
        """While bytes are put there: what comes before, and what after.

        An error is explained, and what may be kept is.
        """
        if stop > self._want.size_bytes:
            raise self.reject("more bytes than that", stop)
        self._check_room(stop - start)
        self._prepare(fd, start)
        try:
            yield
        except OSError as error:
            why = explain(error, self._path)
            if not is_out_of_room(error):
                # Nobody knows what such a disk kept of what it took before.
                self.discard(why)
            raise why from error
        self._note(start, stop)

    def _hash_inline(self, blocks: Sequence[Block], start: int) -> None:
        """Hash what was just written from memory, if it is its turn."""
        if not self._hashing.acquire(blocking=False):
            return
        try:
            for one in blocks:
                if self._hash.at == start:
                    self._hash.update(one)
                start += len(one)
        finally:
            self._hashing.release()

    def _read_on(self, bytes_max: int) -> int:
        with self._file.use() as fd, explained(self._path):
            stop = min(self.offset, self._hash.at + bytes_max)
            return self._hash.read_on(fd, stop)

    def _sync(self, fd: int, how: Callable[[int], None]) -> None:
        try:
            how(fd)
        except OSError as error:
            # The kernel may have dropped the dirty pages: a second fsync would
            # say yes to bytes that are gone.  Never retry; start over.
            why = explain(error, self._path)
            self.discard(why)
            raise why from error

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._has_journal:
            journal_of(self._path).unlink(missing_ok=True)
            self._has_journal = False

    def _check_room(self, size_bytes: int) -> None:
        with self._noting:
            self._unchecked += size_bytes
            if self._unchecked < ROOM_CHECK_BYTES:
                return
            self._unchecked = 0
        self._room.check()
