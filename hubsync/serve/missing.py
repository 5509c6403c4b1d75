"""What becomes of a request for something that the store does not have."""

import math
from typing import Protocol

from aiohttp import web

from hubsync.catalog.rows import RepoRow
from hubsync.model.errors import ExitCode, HubsyncError, IntegrityError
from hubsync.model.revision import DEFAULT_BRANCH
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    GatedError,
    NotAllowedError,
    RepoNotFoundError,
    RevisionNotFoundError,
    UnavailableError,
)
from hubsync.serve.errors import (
    Problem,
    gated_for_us,
    hidden_from_us,
    no_repo,
    no_revision,
    not_held,
)
from hubsync.serve.found import Found
from hubsync.serve.routing import Route

RETRY_AFTER_S = 10


class Missing(Protocol):
    """Gets what is missing.  Where there is none of it, it is refused."""

    async def learn(
        self, row: RepoRow | None, route: Route, *, shown: bool = False
    ) -> None:
        """Have the repo and the revision of *route* recorded, if that can be.

        *shown*: the upstream shows it to whoever asks, by its own word.

        Raises:
            Problem: it cannot; what to answer.
        """

    def used(self, row: RepoRow, revision: str | None) -> None:
        """Somebody reads *revision*, which may have moved upstream."""

    def can_fetch(self, row: RepoRow) -> bool:
        """Whether there is an upstream to get this repo's files from."""

    async def send(
        self,
        request: web.Request,
        found: Found,
        one: HeldEntry,
        etag: str,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        """Answer with a file that is not held, fetching it meanwhile.

        Raises:
            Problem: it cannot be had.
        """


def problem_of_learning(
    error: HubsyncError, route: Route, row: RepoRow | None, *, shown: bool = False
) -> Problem:
    """What to answer when the upstream did not tell us of a repo, or a revision.

    *row*: the repo, which is here also when the upstream has it no more.  *shown*:
    as `Missing.learn`.
    """
    if isinstance(error, RevisionNotFoundError) or error.exit_code is ExitCode.USAGE:
        return no_revision(route.revision or DEFAULT_BRANCH)
    if isinstance(error, GatedError):
        return gated_for_us(route.repo_type, route.name)
    if shown and isinstance(error, RepoNotFoundError | NotAllowedError):
        return hidden_from_us(route.repo_type, route.name)
    problem = None if isinstance(error, RepoNotFoundError) else _problem(error)
    if problem is None and row is not None:
        return no_revision(route.revision or DEFAULT_BRANCH)
    return problem or no_repo(route.repo_type, route.name)


def problem_of_fetching(error: HubsyncError, found: Found, path: str) -> Problem:
    """What to answer when the upstream did not give a file."""
    if isinstance(error, FileNotFoundOnHubError | RepoNotFoundError):
        return not_held(path, found.commit)
    if isinstance(error, GatedError):
        return gated_for_us(found.row.repo.repo_type, found.row.repo.name)
    return _problem(error) or not_held(path, found.commit)


def _problem(error: HubsyncError) -> Problem | None:
    if error.exit_code is ExitCode.NOT_ALLOWED:
        # Of the mirror's token, or by its configuration: nothing that the client
        # could do about it.
        return None
    told_s = error.retry_after_s if isinstance(error, UnavailableError) else None
    asked = told_s or RETRY_AFTER_S
    later = {"Retry-After": str(math.ceil(asked))}
    if isinstance(error, IntegrityError):
        said = "The upstream's bytes are not what it announced, and were not kept"
        return Problem(502, f"{said}: {error}")
    if error.exit_code is ExitCode.NO_ROOM:
        return Problem(507, f"The mirror has no room for it: {error}")
    if error.exit_code in (ExitCode.UNAVAILABLE, ExitCode.BUSY):
        return Problem(503, f"The upstream does not answer: {error}", more=later)
    return Problem(502, f"The upstream cannot be used: {error}")
