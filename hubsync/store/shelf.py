"""Where finished blobs stand: ``blobs/sha256/ab/cd/<64 hex>``, read-only."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from hubsync.model.digest import Digest, InvalidDigestError
from hubsync.store.disk import explain
from hubsync.store.layout import StoreRoot
from hubsync.store.syncing import Watch, sync_folders


class Shelf:
    """The final names of a store's blobs, and what makes a name durable."""

    def __init__(self, root: StoreRoot) -> None:
        self.root = root
        self._top = str(root.blobs)
        # Folders whose own name this process knows to be durable.  That they
        # are there proves nothing: another process may have made them a moment
        # ago and lose power before its fsync.
        self._durable = _Folders()
        self.watch = Watch(root.partial)

    def path(self, digest: Digest) -> Path:
        """Where the blob is, if it is there."""
        return Path(self.name(digest))

    def name(self, digest: Digest) -> str:
        """As `path`: to make a `Path` costs more than to open or to ask its size."""
        name = digest.hex  # 64 hex by construction: never a path
        return f"{self._top}/{name[:2]}/{name[2:4]}/{name}"

    def size(self, digest: Digest) -> int | None:
        """How long the blob is; None when it is not there."""
        path = self.name(digest)
        try:
            return os.stat(path).st_size  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise explain(error, Path(path)) from error

    def put(self, partial: Path, digest: Digest, size_bytes: int) -> bool:
        """Give the whole, synced file at *partial* its final name.

        Nobody may count on it before `make_durable` has seen to it.  False: the
        blob was there already.
        """
        final = self.path(digest)
        for folder in (final.parent.parent, final.parent):
            if not self._durable.has(folder):
                with suppress(FileExistsError):
                    folder.mkdir()
        held_bytes = self.size(digest)
        if held_bytes == size_bytes:
            # Fetched twice under two names.  Views link to the one that is there.
            partial.unlink()
            return False
        if held_bytes is not None:
            self.root.set_aside(final, f"sha256-{digest.hex}")
        partial.rename(final)
        return True

    def make_durable(self, placed: Mapping[Digest, Path | None], since: int) -> None:
        """Sync the folders of the blobs *placed*, each with the partial it was.

        None: the name was there already.  *since* is of `watch`.  After an error no
        new name is there, so that nobody takes for held what a power cut may still
        undo.
        """
        try:
            self._sync_names(placed, since)
        except OSError:
            self.withdraw(placed)
            raise

    def withdraw(self, placed: Mapping[Digest, Path | None]) -> None:
        """Make the new ones among *placed* partials again: whole, and not held.

        Their ingests hold the locks still.
        """
        for digest, partial in placed.items():
            if partial is not None:
                with suppress(FileNotFoundError):
                    self.path(digest).rename(partial)

    def confirm(self, digest: Digest) -> None:
        """Make sure the name of a blob that is there is durable.

        Whoever put it there may not have come to that yet.
        """
        self._sync_names([digest], self.watch.begin())

    def digests(self) -> Iterator[Digest]:
        for folder in sorted(self.root.blobs.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                try:
                    yield Digest(path.name)
                except InvalidDigestError:
                    continue  # not one of ours: neither served nor deleted

    def _sync_names(self, digests: Iterable[Digest], since: int) -> None:
        """Make the names of *digests* durable, and those of the folders above."""
        changed: dict[Path, None] = {}
        new: set[Path] = set()
        for digest in digests:
            inner = self.path(digest).parent
            changed[inner] = None
            for folder in (inner, inner.parent):
                if not self._durable.has(folder):
                    new.add(folder)
                    changed[folder.parent] = None
        sync_folders(list(changed), self.watch, since)
        for folder in new:
            self._durable.add(folder)


class _Folders:
    """Some of the folders ``ab`` and ``ab/cd``, a byte for each: paths take 20 MiB."""

    def __init__(self) -> None:
        self._outer, self._inner = bytearray(1 << 8), bytearray(1 << 16)

    def has(self, folder: Path) -> bool:
        flags, at = self._place(folder)
        return bool(flags[at])

    def add(self, folder: Path) -> None:
        flags, at = self._place(folder)
        flags[at] = True

    def _place(self, folder: Path) -> tuple[bytearray, int]:
        above = folder.parent.name
        if len(above) == 2:  # noqa: PLR2004 - two hex digits: it is an inner one
            return self._inner, int(above + folder.name, 16)
        return self._outer, int(folder.name, 16)
