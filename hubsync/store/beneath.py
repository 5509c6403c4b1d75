"""Walking into a person's folder without following links out of it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from hubsync.model.errors import UsageError


class LedAsideError(UsageError):
    """A link or a file stands where a folder must be."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(
            f"cannot write {path}: {name!r} is a link or a file there",
            hint="Choose another folder, or remove what is in the way.",
        )


@contextmanager
def parent_of(top: int, path: str, *, create: bool) -> Iterator[int | None]:
    """Open the folder that *path* lies in, below the open folder *top*.

    Folder by folder, following no link: a link that somebody put there must not
    lead us out.  None when it is not there and *create* is off.

    Raises:
        LedAsideError: a link or a file is in the way.
    """
    with ExitStack() as stack:
        folder: int | None = top
        for name in path.split("/")[:-1]:
            assert folder is not None
            folder = _enter(folder, name, path, create=create)
            if folder is None:
                break
            stack.callback(os.close, folder)
        yield folder


def _enter(folder: int, name: str, path: str, *, create: bool) -> int | None:
    if create:
        with suppress(FileExistsError):  # a folder, or what the open refuses
            os.mkdir(name, dir_fd=folder)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    except NotADirectoryError:  # for a link, too, since both flags are set
        raise LedAsideError(path, name) from None
