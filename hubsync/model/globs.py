"""Globs over repos, as `hubsync list` and permissions take them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from hubsync.model.repo import RepoId


def matches(repo: RepoId, globs: Iterable[str]) -> bool:
    """Whether one of *globs*, a shell's patterns, fits *repo* in any case.

    Each is held against ``upstream:datasets/org/name``, the same without upstream,
    and ``org/name``; a ``*`` also stands for a slash.
    """
    names = [name.casefold() for name in (str(repo), repo.path, repo.name)]
    return any(fnmatchcase(name, glob.casefold()) for glob in globs for name in names)
