"""Globs over repos, as `hubsync list` and permissions take them."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from hubsync.model.repo import RepoId, RepoType

_SET = re.compile(r"\[!?\]?[^]]*\]")
_COULD_BE = re.compile(r"(?:[a-z0-9_*?-]+:)?[a-z0-9_.*?-]+(?:/[a-z0-9_.*?-]+){0,2}")


def matches(repo: RepoId, globs: Iterable[str]) -> bool:
    """Whether one of *globs*, a shell's patterns, fits *repo* in any case.

    Each is held against ``upstream:datasets/org/name``, the same without upstream,
    and ``org/name``; a ``*`` also stands for a slash.
    """
    names = [name.casefold() for name in (str(repo), repo.path, repo.name)]
    return any(fnmatchcase(name, glob.casefold()) for glob in globs for name in names)


def can_match(glob: str) -> bool:
    """Whether *glob* could fit some repo: not ``acme//x``, not ``models/acme/x``."""
    plain = _SET.sub("?", glob.casefold())
    if not _COULD_BE.fullmatch(plain):
        return False
    kind, *rest = plain.rpartition(":")[2].split("/")
    if len(rest) < 2 or not {"*", "?"}.isdisjoint(kind):  # noqa: PLR2004 - owner and name
        return True
    return f"{kind}/" in {one.url_prefix for one in RepoType}
