"""Refs as files: ``refs/main``, ``refs/feature/x``, ``refs/refs/pr/1``."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from hubsync.model.revision import RefName


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


def drop_ref(top: Path, ref: RefName) -> None:
    """Take the ref's file out, and folders that only it needed."""
    path = top / ref.short
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        path.unlink()
    for parent in path.parents:
        if parent == top:
            break
        try:
            parent.rmdir()
        except OSError:
            break  # other refs are in it, or it never was


def is_without_refs(top: Path) -> bool:
    return not any(files for _, _, files in os.walk(top))
