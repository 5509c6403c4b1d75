"""The Hub's errors, so that clients raise the exceptions their users expect."""

import re

from hubsync.model.repo import RepoType
from hubsync.wire.hf import format_time

__all__ = [
    "Problem",
    "bad_request",
    "damaged",
    "forbidden_write",
    "format_time",
    "no_entry",
    "no_repo",
    "no_revision",
    "no_route",
    "not_held",
    "unauthorized",
]

_UNSAFE = re.compile(r"[^\x20-\x7e]")


class Problem(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An answer that is an error: status, code, sentence.

    *text* makes the body plain text, as the Hub does for files.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        commit: str | None = None,
        text: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.commit, self.text = commit, text

    @property
    def headers(self) -> dict[str, str]:
        """Safe to send: a header takes no line break and no other alphabet."""
        found = {"X-Error-Message": _UNSAFE.sub("?", self.message)[:500]}
        if self.code:
            found["X-Error-Code"] = self.code
        if self.commit:
            found["X-Repo-Commit"] = self.commit
        return found


def no_repo(repo_type: RepoType, name: str) -> Problem:
    return Problem(
        404,
        f"Repository not found: this mirror does not hold the {repo_type} {name}",
        code="RepoNotFound",
    )


def no_revision(revision: str) -> Problem:
    return Problem(404, f"Invalid rev id: {revision}", code="RevisionNotFound")


def no_entry(path: str, revision: str, commit: str, *, file: bool = False) -> Problem:
    if file:
        return Problem(
            404, "Entry not found", code="EntryNotFound", commit=commit, text=True
        )
    return Problem(
        404,
        f'{path} does not exist on "{revision}"',
        code="EntryNotFound",
        commit=commit,
    )


def not_held(path: str, commit: str) -> Problem:
    """The tree has the file, the store has not its contents."""
    return Problem(
        404,
        f"This mirror does not hold the contents of {path}; pull it there first",
        code="EntryNotFound",
        commit=commit,
    )


def damaged(path: str) -> Problem:
    """The catalog says held, the disk says otherwise: never send wrong bytes."""
    return Problem(
        500,
        f"The stored contents of {path} are damaged; run hubsync verify on the mirror",
    )


def bad_request(message: str) -> Problem:
    return Problem(400, message)


def no_route() -> Problem:
    return Problem(404, "This mirror has no such route")


def unauthorized() -> Problem:
    return Problem(401, "Invalid username or password.")


def forbidden_write() -> Problem:
    return Problem(
        403, "This is a mirror: it is read-only. Write to the upstream hub instead."
    )
