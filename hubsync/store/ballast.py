"""Room that is kept to be thrown away, so that a full disk can be emptied.

Who forgets and deletes has to write first: SQLite its log, the store a record.
Where nothing at all is free these few bytes are, once this file is gone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubsync.model.units import MIB
from hubsync.store.disk import explained, free_bytes, is_out_of_room
from hubsync.store.layout import StoreRoot

BALLAST_BYTES = 2 * MIB
FREE_BYTES_MIN = 4 * BALLAST_BYTES  # with less, it would be in somebody's way


def keep_ballast(root: StoreRoot, reserve_bytes: int) -> None:
    """Have the ballast there, unless the room is needed for better things."""
    with explained(root.ballast):
        if _is_whole(root.ballast):
            return
        free = free_bytes(root.path)
        if free is None or free < reserve_bytes + FREE_BYTES_MIN:
            return
        try:
            # Not zeros: a file system that compresses would keep no room for them.
            root.ballast.write_bytes(os.urandom(BALLAST_BYTES))
        except OSError as error:
            root.ballast.unlink(missing_ok=True)
            if not is_out_of_room(error):
                raise


@contextmanager
def ballast_dropped(root: StoreRoot, reserve_bytes: int) -> Iterator[None]:
    """On a full disk, have a little room meanwhile; take it back when there is more."""
    with explained(root.ballast):
        free = free_bytes(root.path)
        if free is not None and free < BALLAST_BYTES:
            root.ballast.unlink(missing_ok=True)
    yield
    keep_ballast(root, reserve_bytes)


def _is_whole(path: Path) -> bool:
    try:
        return path.stat().st_size == BALLAST_BYTES
    except FileNotFoundError:
        return False
