"""The Hub's errors, so that clients raise the exceptions their users expect."""

import re
from collections.abc import Mapping

import orjson
from aiohttp import web

from hubsync.model.repo import LOCAL, RepoId, RepoType

JSON_TYPE = "application/json; charset=utf-8"
_LATER = {"Retry-After": "10"}
_UNSAFE = re.compile(r"[^\x20-\x7e]")


class Problem(Exception):  # noqa: N818 - an answer, not a failure of ours
    """An answer that is an error: status, code, sentence.

    *text* makes the body plain text, as the Hub does for files.  *close*: what
    comes next on the connection is not read as a request.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        commit: str | None = None,
        text: bool = False,
        close: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.commit, self.text, self.close = commit, text, close
        self._more = more or {}

    @property
    def headers(self) -> dict[str, str]:
        """Safe to send: a header takes no line break and no other alphabet."""
        found = {"X-Error-Message": _UNSAFE.sub("?", self.message)[:500]}
        if self.code:
            found["X-Error-Code"] = self.code
        if self.commit:
            found["X-Repo-Commit"] = self.commit
        return {**found, **self._more}

    def response(self) -> web.Response:
        response = self._as_text() if self.text else self._as_json()
        if self.close:
            response.force_close()
        return response

    def _as_text(self) -> web.Response:
        return web.Response(status=self.status, text=self.message, headers=self.headers)

    def _as_json(self) -> web.Response:
        return web.Response(
            status=self.status,
            # What was asked for may be quoted, and need not be valid Unicode.
            body=orjson.dumps(
                {"error": self.message.encode(errors="replace").decode()}
            ),
            headers={"Content-Type": JSON_TYPE, **self.headers},
        )


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


def damaged(repo: RepoId, path: str) -> Problem:
    """The catalog says held, the disk says otherwise: never send wrong bytes."""
    mend = "hubsync verify --all --repair"
    if repo.upstream == LOCAL:  # nobody else has it
        mend = f"hubsync add FOLDER {repo.repo_type.url_prefix}{repo.name}"
    return Problem(
        503,
        f"The stored contents of {path} are damaged and wait for their repair; "
        f"on the mirror: {mend}",
    )


def busy() -> Problem:
    """We are short of something that others will give back soon."""
    return Problem(503, "The mirror is busy; try again soon", more=_LATER)


def store_is_away(reason: str) -> Problem:
    """No blob can be read: that says nothing of any of them."""
    return Problem(503, f"The mirror cannot read its files: {reason}", more=_LATER)


def bad_request(message: str) -> Problem:
    return Problem(400, message)


def no_route() -> Problem:
    return Problem(404, "This mirror has no such route")


def no_git() -> Problem:
    said = "Git is not served here: get files with hf download"
    return Problem(404, f"{said}, or on the mirror with hubsync checkout")


def unauthorized(*, about_repo: bool = False) -> Problem:
    """*about_repo*: say so by the code; the Hub does not, and is known by https."""
    challenge = 'Bearer realm="Authentication required", charset="UTF-8"'
    return Problem(
        401,
        "Invalid username or password.",
        code="RepoNotFound" if about_repo else None,
        more={"WWW-Authenticate": challenge},
    )


def gated(repo_type: RepoType, name: str, *, must_log_in: bool) -> Problem:
    """The upstream's rule: who asks has to be approved there."""
    text = f"Access to {repo_type} {name} is restricted"
    more = (
        ". You must have access to it and be authenticated to access it. Please log in."
        if must_log_in
        else " and you are not in the authorized list. Ask for access at the upstream."
    )
    return Problem(
        401 if must_log_in else 403, text + more, code="GatedRepo", text=True
    )


def gated_for_us(repo_type: RepoType, name: str) -> Problem:
    """It is the mirror that has to be approved, and nothing the client could do."""
    return Problem(
        403,
        f"Access to {repo_type} {name} is restricted and this mirror's own token is "
        "not in the authorized list. Its operator has to ask for access at the "
        "upstream.",
        code="GatedRepo",
        text=True,
    )


def hidden_from_us(repo_type: RepoType, name: str) -> Problem:
    """For those only to whom the upstream shows it: for others it is not there.

    No code: with one, clients say what they make of it, and not this.
    """
    return Problem(
        403,
        f"The upstream lets you read the {repo_type} {name}, and not this mirror's "
        "own token. Its operator has to get that token access",
    )


def disabled() -> Problem:
    return Problem(403, "Access to this resource is disabled.")


def unavailable() -> Problem:
    return Problem(503, "The mirror's catalog does not answer; try again later")


def too_large(message: str, *, close: bool = False) -> Problem:
    return Problem(413, message, close=close)


def forbidden_write() -> Problem:
    return Problem(
        403,
        "This is a mirror: it is read-only. Write to the upstream hub instead; what "
        "no hub has is added on the mirror, with hubsync add",
    )
