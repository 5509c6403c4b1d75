"""What a store's servers sign with: all of them, and also after a restart.

Only whoever reads the store's files can read it, and could read all blobs anyhow.
Without the file the next server makes a new one, and what clients were granted by
the old one ends.
"""

import errno
import os
import secrets
from pathlib import Path

from hubsync.store.disk import explained, sync_folder
from hubsync.store.layout import StoreRoot

_BYTES = 32
NAME = "serve.key"


def kept_secret(root: StoreRoot) -> bytes:
    """The secret of the store at *root*; where nothing can be kept, one for today.

    Raises:
        StoreIOError, NoRoomError: it cannot be read or written.
    """
    path = root.path / NAME
    fresh = secrets.token_bytes(_BYTES)
    with explained(path):
        try:
            kept = path.read_bytes()
        except FileNotFoundError:
            kept = b""
        except PermissionError:
            return fresh  # another user's server, over the same store
        if len(kept) == _BYTES:
            return kept
        if root.read_only:
            return fresh
        own = root.partial / f".{NAME}.{secrets.token_hex(8)}"
        try:
            descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(fresh)
                file.flush()
                os.fsync(file.fileno())
            _put(own, path, replace=bool(kept))  # cut short by a crash, or a copy
        except FileExistsError:
            return path.read_bytes()  # another server was quicker
        finally:
            own.unlink(missing_ok=True)
        sync_folder(root.path)
    return fresh


def _put(own: Path, path: Path, *, replace: bool) -> None:
    try:
        if not replace:
            os.link(own, path)
            return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    own.replace(path)  # also where there are no links: two at once may then differ
