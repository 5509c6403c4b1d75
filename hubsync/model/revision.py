"""What was asked for (a revision) and the names that point to commits (refs)."""

import re
from dataclasses import dataclass

from hubsync.model.errors import UsageError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)")
REVISION_CHARS_MAX = 255
DEFAULT_BRANCH = "main"
HEAD = "HEAD"  # git's word for the default branch


class InvalidRevisionError(UsageError):
    """A revision that git itself would refuse as a name."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"not a revision: {text[:200]!r}",
            hint="Name a branch, a tag, refs/pr/N or a commit (7 to 40 hex digits).",
        )


def check_revision(text: str) -> str:
    """Return *text* if it may be sent to a hub as a revision.

    Raises:
        InvalidRevisionError: by git's rules for ref names.
    """
    if (
        not text
        or len(text) > REVISION_CHARS_MAX
        or _FORBIDDEN.search(text)
        or text[0] in "/.-"
        or text[-1] in "/."
    ):
        raise InvalidRevisionError(text)
    return text


def check_branch(name: str) -> str:
    """Return *name* if a branch may be called so.

    Raises:
        InvalidRevisionError: by git's rules for ref names.
        UsageError: asked for by it, one would get something else.
    """
    check_revision(name)
    is_like_commit = is_commit(canonical(name)) or may_be_short_commit(name.lower())
    if is_like_commit or name.startswith("refs/"):
        what = "a commit" if is_like_commit else "a full ref"
        raise UsageError(
            f"{name!r} looks like {what}: no branch may be called so",
            hint="Name it otherwise, for example main or v1.",
        )
    return name


def is_commit(revision: str) -> bool:
    """Whether *revision* is a full commit id (clients test the same pattern)."""
    return bool(_COMMIT.fullmatch(revision))


def canonical(revision: str) -> str:
    """A full commit in lower case, as git prints it; anything else as it is."""
    lower = revision.lower()
    return lower if is_commit(lower) else revision


def may_be_short_commit(revision: str) -> bool:
    return bool(_SHORT.fullmatch(revision))


@dataclass(frozen=True, slots=True, order=True)
class RefName:
    """A full ref name, as git and the catalog write it.

    ``refs/heads/main``, ``refs/tags/v1``, ``refs/pr/1``, ``refs/convert/parquet``.
    """

    full: str

    def __post_init__(self) -> None:
        check_revision(self.full)
        if not self.full.startswith("refs/"):
            raise InvalidRevisionError(self.full)

    @classmethod
    def branch(cls, name: str) -> "RefName":
        return cls(f"refs/heads/{name}")

    @classmethod
    def tag(cls, name: str) -> "RefName":
        return cls(f"refs/tags/{name}")

    @property
    def kind(self) -> str:
        """``branch``, ``tag``, ``pr``, ``convert`` or ``other``."""
        room = self.full.split("/")[1]
        kinds = {"heads": "branch", "tags": "tag", "pr": "pr", "convert": "convert"}
        return kinds.get(room, "other")

    @property
    def short(self) -> str:
        """What people and cache folders say: ``main``, ``v1``, ``refs/pr/1``."""
        for prefix in ("refs/heads/", "refs/tags/"):
            if self.full.startswith(prefix):
                return self.full[len(prefix) :]
        return self.full

    def __str__(self) -> str:
        return self.full


MAIN = RefName.branch(DEFAULT_BRANCH)


def ref_candidates(revision: str) -> list[str]:
    """Full ref names *revision* may mean, the likeliest first."""
    if revision.startswith("refs/"):
        return [revision]
    return [f"refs/heads/{revision}", f"refs/tags/{revision}"]
