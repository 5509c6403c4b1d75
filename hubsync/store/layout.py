"""The folders of a store, its version, and its locks."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hubsync.ports.blobs import StoreBusyError, StoreLayoutError, StoreReadOnlyError
from hubsync.store.disk import explained, make_folders, write_durably
from hubsync.store.lock import holder, lock_within

LAYOUT_VERSION = 1
QUARANTINE_KEPT = 20  # files, and no more bytes than
QUARANTINE_BYTES = 16 << 30
_FOLDERS = ("blobs/sha256", "partial", "trash", "quarantine", "records", "hub")
CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file is a cache directory tag created by hubsync.\n"
    b"# For information about cache directory tags see https://bford.info/cachedir/\n"
)


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """One store on one file system."""

    path: Path
    read_only: bool = False

    @classmethod
    def open(cls, path: Path, *, create: bool, read_only: bool = False) -> "StoreRoot":
        """Open the store at *path*; with *create*, make an empty one if need be.

        Raises:
            StoreLayoutError: the folder is something else, or of a newer layout.
            StoreReadOnlyError: it must be made and cannot be.
        """
        root = cls(path, read_only)
        with explained(path):
            is_store = (path / "VERSION").is_file()
            if path.exists() and not path.is_dir():
                raise StoreLayoutError(f"{path} is a file, not a folder")
        if not is_store:
            if not create or read_only:
                raise StoreLayoutError(
                    f"{path} is not a hubsync store (it has no VERSION file)",
                    hint="Name the folder of a store with --root; "
                    "the first pull makes one.",
                )
            root._create()
        root._check_version()
        if not read_only:
            root._mend_folders()
        return root

    @property
    def blobs(self) -> Path:
        return self.path / "blobs/sha256"

    @property
    def partial(self) -> Path:
        return self.path / "partial"

    @property
    def trash(self) -> Path:
        return self.path / "trash"

    @property
    def quarantine(self) -> Path:
        return self.path / "quarantine"

    @property
    def records(self) -> Path:
        """What is kept of every recorded revision, whatever becomes of the catalog."""
        return self.path / "records"

    @property
    def hub(self) -> Path:
        """The Hugging Face cache folder."""
        return self.path / "hub"

    @property
    def staging(self) -> Path:
        """Where views are built, out of every reader's sight."""
        return self.path / "partial/views"

    @property
    def ballast(self) -> Path:
        """What is thrown away first when the disk is full."""
        return self.path / "ballast"

    @property
    def catalog(self) -> Path:
        """The catalog, where it is a file of the store."""
        return self.path / "catalog.db"

    def is_used(self) -> bool:
        """Whether it has blobs, or records of them."""
        tops = (self.records, self.blobs)
        return any(one.is_file() for top in tops for one in top.rglob("*"))

    def _create(self) -> None:
        with explained(self.path):
            make_folders(self.path, Path(self.path.anchor))
            others = [one.name for one in self.path.iterdir() if not _is_ours(one.name)]
            if others:
                raise StoreLayoutError(
                    f"{self.path} is not empty and not a hubsync store "
                    f"(it holds {min(others)!r})",
                    hint="Name an empty or new folder with --root.",
                )
            for name in _FOLDERS:
                make_folders(self.path / name, self.path)
            write_durably(self.hub / "CACHEDIR.TAG", CACHEDIR_TAG)
            (self.path / "LOCK").touch()
            # Last: a store with a VERSION is whole.
            write_durably(self.path / "VERSION", b"%d\n" % LAYOUT_VERSION)

    def _mend_folders(self) -> None:
        """Make again what a copy without empty folders has left out."""
        if all((self.path / name).is_dir() for name in _FOLDERS):
            return
        with explained(self.path):
            for name in _FOLDERS:
                make_folders(self.path / name, self.path)

    def _check_version(self) -> None:
        version = self.path / "VERSION"
        with explained(version):
            text = version.read_text("utf-8", "replace").strip()
        if not text.isdecimal() or not text.isascii():
            raise StoreLayoutError(f"{version} says {text[:40]!r}: not a hubsync store")
        if int(text) > LAYOUT_VERSION:
            raise StoreLayoutError(
                f"the store {self.path} has layout {text}; this hubsync knows "
                f"{LAYOUT_VERSION}",
                hint="Use the newer hubsync that made it.",
            )

    @contextmanager
    def lock_shared(self, wait_s: float = 0.0) -> Iterator[None]:
        """Hold off whoever needs the store alone.  Many may hold it at once.

        Raises:
            StoreBusyError: somebody has it alone, for more than *wait_s* seconds.
            StoreReadOnlyError: the store cannot be written at all.
        """
        with self._lock(self.path / "LOCK", fcntl.LOCK_SH, wait_s, "alone in"):
            yield

    @contextmanager
    def lock_reading(self, wait_s: float = 0.0) -> Iterator[None]:
        """As `lock_shared`, also in a store that cannot be written.

        Raises:
            StoreBusyError: as `lock_shared`.
        """
        if not self.read_only:
            with self.lock_shared(wait_s):
                yield
            return
        lock = self.path / "LOCK"
        try:
            fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield  # nobody has ever been alone in it
            return
        try:
            self._take(fd, lock, fcntl.LOCK_SH, wait_s, "alone in")
            yield
        finally:
            os.close(fd)

    @contextmanager
    def lock_exclusive(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only one that changes the store.

        Raises:
            StoreBusyError: somebody else has held the lock for *wait_s* seconds.
        """
        with self._lock(self.path / "LOCK", fcntl.LOCK_EX, wait_s, "at work in"):
            yield

    @contextmanager
    def lock_views(self, wait_s: float, *, alone: bool = False) -> Iterator[None]:
        """Keep the catalog, the records and the views in step.

        Who publishes, or lays out what the catalog says, holds it meanwhile, beside
        others.  Who takes something out of all of them holds it *alone*: else a
        snapshot could be laid out after it was forgotten, and stay for ever.

        Raises:
            StoreBusyError: not to be had within *wait_s* seconds.
        """
        kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        with self._lock(self.path / "LOCK.views", kind, wait_s, "at the views of"):
            yield

    @contextmanager
    def _lock(self, lock: Path, kind: int, wait_s: float, what: str) -> Iterator[None]:
        if self.read_only or not os.access(
            self.partial, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        ):
            raise StoreReadOnlyError(
                f"the store {self.path} is read-only",
                hint="Check the mount and the folder's owner; serving works.",
            )
        with explained(lock):
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._take(fd, lock, kind, wait_s, what)
            yield
        finally:
            os.close(fd)

    def _take(self, fd: int, lock: Path, kind: int, wait_s: float, what: str) -> None:
        if not lock_within(fd, kind, wait_s):
            by = holder(lock)
            raise StoreBusyError(
                f"another hubsync command is {what} {self.path}"
                + (f": {by}" if by else ""),
                hint="Try again when it has ended.",
            )

    def set_aside(self, path: Path, key: str) -> None:
        """Move a damaged file to quarantine, where the newest few are kept."""
        path.rename(self.quarantine / f"{key}.{time.time_ns()}.{os.getpid()}")
        self.drop_quarantined()

    def drop_quarantined(self) -> None:
        """Delete the older ones: of large files even a few would fill a disk.

        The newest one stays, however large it is: somebody may want to look at it.
        """
        newest_first = sorted(self.quarantine.iterdir(), key=_set_aside_at)[::-1]
        total = 0
        for number, path in enumerate(newest_first):
            with suppress(FileNotFoundError):
                total += path.stat().st_blocks * 512
                is_much = number >= QUARANTINE_KEPT or total > QUARANTINE_BYTES
                if number and is_much:
                    path.unlink()


def _set_aside_at(path: Path) -> int:
    """When, by its name: a rename leaves the file's own times alone."""
    words = path.name.split(".")
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0


def _is_ours(name: str) -> bool:
    """What an interrupted creation, or a catalog made first, may have left."""
    return name in (
        "blobs",
        "partial",
        "trash",
        "quarantine",
        "records",
        "hub",
        "ballast",
        "tls",
        "LOCK",
        "LOCK.views",
        "serve.key",
        "VERSION",
    ) or (name.startswith(("catalog.db", ".VERSION", "hubsync.toml", "lost+found")))
