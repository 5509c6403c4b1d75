"""``trash/``: blobs that leave, as ``<64 hex>.<nanoseconds>.<pid>.<number>``."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from hubsync.model.digest import Digest, InvalidDigestError
from hubsync.ports.trash import Trashed
from hubsync.store.disk import explained, make_folders, sync_folder
from hubsync.store.layout import StoreRoot
from hubsync.store.shelf import Shelf

_GONE = (FileNotFoundError, NotADirectoryError)


class LocalTrash:
    """A `Trash` beside the blobs, on the same file system."""

    def __init__(self, root: StoreRoot) -> None:
        self._root = root
        self._shelf = Shelf(root)
        self._numbers = itertools.count()

    def put(self, digest: Digest, now_s: float) -> Trashed | None:
        """As `Trash.put`.

        No folder is synced: what a power cut brings back has no row, so the
        next gc takes it out again.
        """
        path = self._shelf.path(digest)
        number = f"{os.getpid()}.{next(self._numbers)}"
        name = f"{digest.hex}.{int(now_s * 1e9)}.{number}"
        with explained(path):
            try:
                size_bytes = path.stat().st_size
                path.rename(self._root.trash / name)
            except _GONE:
                return None
        return Trashed(digest, name, size_bytes, now_s)

    def items(self) -> Iterator[Trashed]:
        with explained(self._root.trash):
            for path in sorted(self._root.trash.iterdir()):
                item = _item(path)
                if item is not None:
                    yield item

    def put_back(self, item: Trashed) -> bool:
        """As `Trash.put_back`."""
        final = self._shelf.path(item.digest)
        with explained(final):
            if final.exists():
                return False
            make_folders(final.parent, self._root.blobs)
            try:
                (self._root.trash / item.name).rename(final)
            except FileNotFoundError:
                return False  # another gc was first
            sync_folder(final.parent)
        return True

    def delete(self, item: Trashed) -> None:
        """As `Trash.delete`."""
        path = self._root.trash / item.name
        with explained(path):
            path.unlink(missing_ok=True)


def _item(path: Path) -> Trashed | None:
    words = path.name.split(".")
    try:
        digest, size_bytes = Digest(words[0]), path.stat().st_size
    except (InvalidDigestError, FileNotFoundError):
        return None  # not one of ours, or another gc was first
    since = words[1] if len(words) > 1 else ""
    since_s = int(since) / 1e9 if since.isdecimal() else 0.0
    return Trashed(digest, path.name, size_bytes, since_s)
