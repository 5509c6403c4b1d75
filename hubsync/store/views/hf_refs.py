"""Refs as files: ``refs/main``, ``refs/feature/x``, ``refs/refs/pr/1``."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def clear_the_way(path: Path, top: Path) -> None:
    """Refs ``a`` and ``a/b`` cannot both be files: the one moved last stays.

    Git has both when one is a branch and the other a tag.  Their commits stay
    laid out under their ids.
    """
    for parent in path.parents:
        if parent == top:
            break
        if parent.is_file():
            parent.unlink()
    if path.is_dir():
        shutil.rmtree(path)


def drop_ref(top: Path, path: Path) -> None:
    """Take the ref's file at *path* out, and folders that only it needed."""
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        path.unlink()
    for parent in path.parents:
        if parent == top:
            break
        try:
            parent.rmdir()
        except OSError:
            break  # other refs are in it, or it never was


def drop_refs_to(top: Path, commit: str) -> None:
    """Take out every ref to *commit*, whatever the catalog says they point to.

    A pull that was killed after it had published, and before it moved the ref
    here, leaves an older commit behind it.
    """
    for folder, _, files in os.walk(top):
        for name in files:
            path = Path(folder, name)
            if path.read_bytes() == commit.encode():
                drop_ref(top, path)


def is_without_refs(top: Path) -> bool:
    return not any(files for _, _, files in os.walk(top))
