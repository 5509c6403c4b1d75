"""What a refusal of the Hugging Face Hub means to the person who asked."""

from dataclasses import dataclass

from hubsync.hubs.hf_transport import RawAnswer
from hubsync.ports.hub import (
    FileNotFoundOnHubError,
    GatedError,
    HubError,
    NotAllowedError,
    RepoNotFoundError,
    RevisionNotFoundError,
)

_TOKEN_REFUSED = "invalid credentials"  # noqa: S105 - no password
_LOG_IN = "log in with `hf auth login`, or set the variable that token_env names"


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and by whom."""

    endpoint: str
    host: str
    repo: str  # as people write it
    page: str  # address of the repo's page
    revision: str | None
    anonymous: bool


def explain(answer: RawAnswer, asked: Question) -> HubError:
    """The error for *answer*, a 4xx: by huggingface_hub's class, else by status."""
    from huggingface_hub import errors  # noqa: PLC0415 - slow to import

    said = _said(answer)
    for kind, meant in (
        (errors.GatedRepoError, _gated(asked)),
        (errors.DisabledRepoError, _disabled(asked)),
        (errors.RevisionNotFoundError, no_revision(asked.repo, asked.revision)),
        (errors.EntryNotFoundError, _no_entry(asked, said)),
    ):
        if isinstance(answer.refusal, kind):
            return meant
    # A 401 is RepositoryNotFoundError to the library, but for https only.
    by_status = {401: _unauthorized, 403: _forbidden, 404: _no_repo}
    return by_status.get(answer.status, _other)(asked, f"{answer.status} {said}")


def _disabled(asked: Question) -> NotAllowedError:
    return NotAllowedError(
        f"{asked.repo} is disabled on {asked.host}",
        hint="Nobody gets its files any more. What is held here stays usable.",
    )


def _no_entry(asked: Question, said: str) -> FileNotFoundOnHubError:
    return FileNotFoundOnHubError(
        f"{asked.repo}: {said or 'not found'}",
        hint="The hub contradicts itself; try again later.",
    )


def no_revision(repo: str, revision: str | None) -> RevisionNotFoundError:
    return RevisionNotFoundError(
        f"{repo} has no revision {revision!r}",
        hint="Name a branch, a tag, refs/pr/N or a commit of it.",
    )


def _unauthorized(asked: Question, said: str) -> HubError:
    if asked.anonymous:  # then it means "gone, or private"
        return _no_repo(asked, said)
    why = "the token" if _TOKEN_REFUSED in said.lower() else f"the token: {said}"
    return NotAllowedError(
        f"{asked.host} refuses {why}",
        hint="It may have expired. Make a new one on the hub's settings page, then "
        f"{_LOG_IN}.",
    )


def _gated(asked: Question) -> GatedError:
    then = f"then {_LOG_IN}" if asked.anonymous else "and wait for the approval"
    return GatedError(
        f"{asked.repo} is gated: {asked.host} gives it only to those it has approved",
        hint=f"Ask for access at {asked.page}, {then}.",
    )


def _forbidden(asked: Question, said: str) -> HubError:
    return NotAllowedError(
        f"{asked.host} does not allow {asked.repo}: {said}",
        hint=f"Look at {asked.page} with a browser, or {_LOG_IN}.",
    )


def _other(asked: Question, said: str) -> HubError:
    return HubError(
        f"{asked.host} answered {said} for {asked.repo}",
        hint=f"Is {asked.endpoint} the address of a hub?",
    )


def _no_repo(asked: Question, said: str) -> HubError:  # noqa: ARG001 - one of by_status
    reason, more = "this token may not see it", ""
    if asked.anonymous:
        reason, more = "it is private", f"; for a private repo {_LOG_IN}"
    return RepoNotFoundError(
        f"{asked.repo} is not on {asked.host}, or {reason}",
        hint=f"Check the name and the type (datasets/…, spaces/…){more}.",
    )


def _said(answer: RawAnswer) -> str:
    said = getattr(answer.refusal, "server_message", None) or ""
    return " ".join(str(said).split())[:200]
