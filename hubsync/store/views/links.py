"""The links of a Hugging Face cache: blobs to the store, snapshots to blobs."""

import errno
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hubsync.model.digest import Digest
from hubsync.model.paths import check_path
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.ports.blobs import BlobNotFoundError
from hubsync.store.disk import StoreIOError, sync_folder

_NO_HARD_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
)
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def etag(entry: TreeEntry) -> str:
    """The blob's name in a client's cache: sha256 for LFS, git object id else."""
    return entry.lfs.hex if entry.lfs else entry.git_oid.hex


def link_text(entry: TreeEntry) -> str:
    """What the snapshot's symlink says."""
    up = "../" * (2 + entry.path.count("/"))
    return f"{up}blobs/{etag(entry)}"


def link_blob(digest: Digest, source: Path, link: Path, staging: Path) -> bool:
    """Make *link* the blob at *source*; False when it is that already.

    Raises:
        BlobNotFoundError: the store does not have it.
    """
    try:
        try:
            wanted = source.stat()
        except FileNotFoundError:
            raise BlobNotFoundError(digest) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(link.stat(), wanted):
                return False
        # What else is there is from before the blob was damaged and fetched
        # again, or a client's own copy: replaced in one step.
        temporary = staging / "link"
        _link(source, temporary, link.parent)
        temporary.replace(link)
    except FileNotFoundError:
        raise BlobNotFoundError(digest) from None
    return True


def _link(source: Path, link: Path, folder: Path) -> None:
    """A hard link, or where the file system has none, a relative symlink."""
    try:
        os.link(source, link)
    except OSError as error:
        if error.errno not in _NO_HARD_LINK:
            raise
        link.symlink_to(os.path.relpath(source, folder))


class SnapshotLinks:
    """A snapshot's folder that is there already."""

    def __init__(self, folder: Path, staging: Path) -> None:
        self._folder, self._staging = folder, staging
        self._real = {folder}
        self._changed: set[Path] = set()

    def refresh(self, entries: Sequence[HeldEntry]) -> bool:
        """Add what is held by now, drop what no longer is; whether any was dropped.

        Each file appears and disappears in one step.
        """
        dropped = False
        for one in entries:
            link = self._folder / check_path(one.entry.path)
            if one.held:
                self._put(link, link_text(one.entry))
            elif os.path.lexists(link):
                self._enter(link.parent)
                link.unlink()
                self._changed.add(link.parent)
                dropped = True
        for folder in self._changed:
            sync_folder(folder)
        return dropped

    def _put(self, link: Path, text: str) -> None:
        self._enter(link.parent)
        with suppress(FileNotFoundError):
            if link.is_symlink() and os.readlink(link) == text:  # noqa: PTH115 - text, not a path
                return
        temporary = self._staging / "symlink"
        temporary.symlink_to(text)
        temporary.replace(link)
        self._changed.add(link.parent)

    def _enter(self, folder: Path) -> None:
        """Make *folder* if need be, and refuse to be led elsewhere by a link."""
        if folder in self._real:
            return
        self._enter(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir()
            self._changed.add(folder.parent)
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise StoreIOError(
                f"{folder} is not a folder, but a file of the snapshot is in it",
                hint=f"Remove {self._folder} and repeat: it is made anew.",
            )
        self._real.add(folder)


def drop_unused_blobs(repo_folder: Path) -> None:
    """Remove links to blobs that no remaining snapshot links to.

    What is not named like a blob stays: a client may be downloading there.
    """
    used = set()
    for parent, folders, files in os.walk(repo_folder / "snapshots"):
        for name in (*folders, *files):
            with suppress(OSError):  # not a symlink
                used.add(os.path.basename(os.readlink(os.path.join(parent, name))))  # noqa: PTH115, PTH118, PTH119 - 100,000 of them
    blobs = repo_folder / "blobs"
    for path in blobs.iterdir() if blobs.is_dir() else ():
        if _ETAG.fullmatch(path.name) and path.name not in used:
            path.unlink()
