"""What interrupted commands leave behind, and taking it away beside running ones.

Nobody is asked to stop for it: each thing is taken away by whoever has its lock,
and everybody who uses it takes that lock first.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hubsync.model.digest import Digest, InvalidDigestError
from hubsync.store.disk import explained
from hubsync.store.journal import SUFFIX, journal_of
from hubsync.store.layout import StoreRoot
from hubsync.store.lock import open_locked_now

PARTIAL_KEPT_S = 14 * 86400.0


def clean_leftovers(root: StoreRoot, partial_kept_s: float = PARTIAL_KEPT_S) -> None:
    """Delete unfinished views, old quarantine, and foreign files in the trash.

    Partials that nobody went on with for *partial_kept_s* go, too.
    """
    with explained(root.path):
        _drop_partials(root.partial, time.time() - partial_kept_s)
        _drop_unfinished_views(root.staging)
        _drop_foreign(root.trash)
        root.drop_quarantined()


def _drop_partials(folder: Path, oldest_s: float) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_file() and _is_older(path, oldest_s):
            _drop_partial(path, oldest_s)


def _drop_partial(path: Path, oldest_s: float) -> None:
    """Delete *path*, which is a partial, its journal, or what was to become that.

    The partial's lock is the lock of all three, so it is made where it lacks.
    """
    is_half = path.name.startswith(".")
    name = path.name.removeprefix(".").removesuffix(".tmp") if is_half else path.name
    partial = path.with_name(name.removesuffix(SUFFIX))
    with _locked(partial) as is_mine:
        if not is_mine:
            return
        if is_half:
            path.unlink(missing_ok=True)
        # Somebody may have gone on with it and let go before we had the lock.
        if _is_older(partial, oldest_s) or not partial.stat().st_size:
            # The journal first: alone it would speak for the next partial.
            journal_of(partial).unlink(missing_ok=True)
            partial.unlink(missing_ok=True)


def _drop_unfinished_views(staging: Path) -> None:
    if not staging.is_dir():
        return
    names = {path.name.removesuffix(".lock") for path in staging.iterdir()}
    for name in sorted(names):
        lock = staging / f"{name}.lock"
        with _locked(lock) as is_mine:
            if is_mine:
                shutil.rmtree(staging / name, ignore_errors=True)
                lock.unlink()


def _drop_foreign(trash: Path) -> None:
    """What has the name of no blob.  Blobs go when the catalog agrees."""
    for path in trash.iterdir():
        try:
            Digest(path.name.partition(".")[0])
        except InvalidDigestError:
            path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether the lock at *path* is ours meanwhile; made if need be."""
    fd = open_locked_now(path)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            os.close(fd)


def _is_older(path: Path, oldest_s: float) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < oldest_s
    return False
