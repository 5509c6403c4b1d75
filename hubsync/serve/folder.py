"""The store's blobs as files, for what cannot do with open ones."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hubsync.model.digest import Digest


@dataclass(frozen=True, slots=True)
class BlobFolder:
    """Where blobs are.  *top* has all of them somewhere beneath; *path_of* one."""

    top: Path
    path_of: Callable[[Digest], Path]

    def look(self) -> None:
        """Blocks for as long as the disk does.

        Raises:
            OSError: the folder is not there, or cannot be read.
        """
        with os.scandir(self.top) as entries:
            next(entries, None)

    def what_is_wrong(self) -> str | None:
        """Why no blob can be read, in words; None: they can.  Blocks as `look`."""
        try:
            self.look()
        except OSError as error:
            return f"the store's folder cannot be read: {error.strerror}"
        return None

    def free_bytes(self) -> int:
        """What others than root may still write; raises as `look`."""
        found = os.statvfs(self.top)
        return found.f_bavail * found.f_frsize
