"""Keeping people's folders and the store apart."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from hubsync.model.errors import UsageError
from hubsync.store.layout import StoreRoot

Identity = tuple[int, int]  # device and inode


def require_apart(folder: Path, root: StoreRoot, *, hint: str) -> None:
    """Raise if *folder* is the store, lies inside of it, or has it inside.

    Compared by what the folders are, not by how they are spelled: a link or a
    mount leads into the store as well.  *folder* need not be there yet.

    Raises:
        UsageError: with *hint* as what to do instead.
    """
    asked = Path(os.path.realpath(folder))
    top = Path(os.path.realpath(root.path))
    ours = set(_identities([top, *_folders(top)]))
    if asked.is_relative_to(top) or ours & set(_identities([asked, *asked.parents])):
        raise UsageError(
            f"{folder} is inside the store {root.path}, whose files are its own",
            hint=hint,
        )
    if set(_identities([asked])) & set(_identities(top.parents)):
        raise UsageError(f"{folder} has the store {root.path} inside", hint=hint)


def _folders(top: Path) -> Iterator[Path]:
    """Those of the store that may be mounted elsewhere too, the cache above all."""
    with suppress(OSError):  # no store yet, or none that we may look into
        yield from (one for one in top.iterdir() if one.is_dir())


def _identities(folders: Iterable[Path]) -> Iterator[Identity]:
    for folder in folders:
        with suppress(OSError):  # not there yet
            found = folder.stat()
            yield found.st_dev, found.st_ino
