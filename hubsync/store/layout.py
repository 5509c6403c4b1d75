"""The folders of a store, its version, and its lock."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hubsync.ports.blobs import StoreBusyError, StoreLayoutError, StoreReadOnlyError
from hubsync.store.disk import explained, make_folders, sync_folder, write_durably

LAYOUT_VERSION = 1
POLL_S = 0.05
PARTIAL_KEPT_S = 14 * 86400.0
QUARANTINE_KEPT = 50
_FOLDERS = ("blobs/sha256", "partial", "trash", "quarantine", "hub")
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
        version = path / "VERSION"
        if not version.is_file():
            if not create or read_only:
                raise StoreLayoutError(
                    f"{path} is not a hubsync store (it has no VERSION file)"
                )
            root._create()
        root._check_version()
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
    def hub(self) -> Path:
        """The Hugging Face cache folder."""
        return self.path / "hub"

    def _create(self) -> None:
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
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
            sync_folder(self.path.parent)

    def _check_version(self) -> None:
        text = (self.path / "VERSION").read_text("utf-8", "replace").strip()
        if not text.isdigit():
            raise StoreLayoutError(
                f"{self.path / 'VERSION'} says {text[:40]!r}: not a hubsync store"
            )
        if int(text) > LAYOUT_VERSION:
            raise StoreLayoutError(
                f"the store {self.path} has layout {text}; this hubsync knows "
                f"{LAYOUT_VERSION}",
                hint="Use the newer hubsync that made it.",
            )

    @contextmanager
    def lock_shared(self, wait_s: float = 0.0) -> Iterator[None]:
        """Hold off gc while bytes are brought in.  Many may hold it at once.

        Raises:
            StoreBusyError: gc has not ended within *wait_s* seconds.
            StoreReadOnlyError: the store cannot be written at all.
        """
        with self._lock(fcntl.LOCK_SH, wait_s, "a gc is running on"):
            yield

    @contextmanager
    def lock_exclusive(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only one that changes the store.

        Raises:
            StoreBusyError: somebody else has held the lock for *wait_s* seconds.
        """
        what = "a pull, add, verify or another gc is running on"
        with self._lock(fcntl.LOCK_EX, wait_s, what):
            yield

    @contextmanager
    def _lock(self, kind: int, wait_s: float, what: str) -> Iterator[None]:
        if self.read_only or not os.access(self.partial, os.W_OK):
            raise StoreReadOnlyError(
                f"the store {self.path} is read-only",
                hint="Check the mount and the folder's owner; serving works.",
            )
        with explained(self.path / "LOCK"):
            fd = os.open(self.path / "LOCK", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            # The kernel lets go when the process dies, however it dies.
            if not _wait_for(lambda: _try_lock(fd, kind), wait_s):
                raise StoreBusyError(
                    f"{what} {self.path}",
                    hint="Try again when it has ended.",
                )
            yield
        finally:
            os.close(fd)

    def clean_leftovers(self) -> None:
        """Delete what interrupted commands left.  Hold the exclusive lock."""
        with explained(self.path):
            for path in self.trash.iterdir():
                path.unlink()
            shutil.rmtree(self.partial / "views", ignore_errors=True)
            oldest = time.time() - PARTIAL_KEPT_S
            for path in self.partial.iterdir():
                if path.is_file() and path.stat().st_mtime < oldest:
                    path.unlink()
            newest_first = sorted(
                self.quarantine.iterdir(), key=lambda path: -path.stat().st_mtime
            )
            for path in newest_first[QUARANTINE_KEPT:]:
                path.unlink()


def _is_ours(name: str) -> bool:
    """What an interrupted creation, or a catalog made first, may have left."""
    return name in ("blobs", "partial", "trash", "quarantine", "hub", "LOCK") or (
        name.startswith(("catalog.db", ".VERSION", "hubsync.toml", "lost+found"))
    )


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(attempt: Callable[[], bool], wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True
