"""What a refusal of the Hugging Face Hub means to the person who asked."""

from dataclasses import dataclass

from hubsync.hubs.hf_transport import RawAnswer
from hubsync.model.repo import RepoId
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
class Topic:
    """What a hub is asked about, as its errors name it.

    *missing* is the error for one that is not there, with *check* for what to look
    at; None: a hub always has it.
    """

    name: str  # as people write it
    path: str  # of its page
    missing: type[HubError] | None = RepoNotFoundError
    check: str = "Check the name and the type (datasets/…, spaces/…)"

    @classmethod
    def of(cls, repo: RepoId) -> "Topic":
        return cls(str(repo), repo.path)


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and by whom."""

    endpoint: str
    host: str
    topic: Topic
    revision: str | None
    anonymous: bool

    @property
    def about(self) -> str:
        return self.topic.name

    @property
    def page(self) -> str:
        return f"{self.endpoint}/{self.topic.path}"


def explain(answer: RawAnswer, asked: Question) -> HubError:
    """The error for *answer*, a 4xx: by huggingface_hub's class, else by status."""
    from huggingface_hub import errors  # noqa: PLC0415 - slow to import

    said = _said(answer)
    for kind, meant in (
        (errors.GatedRepoError, _gated(asked)),
        (errors.DisabledRepoError, _disabled(asked)),
        (errors.RevisionNotFoundError, no_revision(asked.about, asked.revision)),
        (errors.EntryNotFoundError, _no_entry(asked, said)),
    ):
        if isinstance(answer.refusal, kind):
            return meant
    # A 401 is RepositoryNotFoundError to the library, but for https only.
    by_status = {401: _unauthorized, 403: _forbidden, 404: _missing}
    return by_status.get(answer.status, _other)(asked, f"{answer.status} {said}")


def _disabled(asked: Question) -> NotAllowedError:
    return NotAllowedError(
        f"{asked.about} is disabled on {asked.host}",
        hint="Nobody gets its files any more. What is held here stays usable.",
    )


def _no_entry(asked: Question, said: str) -> FileNotFoundOnHubError:
    return FileNotFoundOnHubError(
        f"{asked.about}: {said or 'not found'}",
        hint="The hub contradicts itself; try again later.",
    )


def no_revision(repo: str, revision: str | None) -> RevisionNotFoundError:
    return RevisionNotFoundError(
        f"{repo} has no revision {revision!r}",
        hint="Name a branch, a tag, refs/pr/N or a commit of it.",
    )


def _unauthorized(asked: Question, said: str) -> HubError:
    if asked.anonymous and asked.topic.missing:  # then it means "gone, or private"
        return _missing(asked, said)
    if asked.anonymous:
        return NotAllowedError(
            f"{asked.host} gives {asked.about} only to whom it knows",
            hint=f"To be known, {_LOG_IN}.",
        )
    why = "the token" if _TOKEN_REFUSED in said.lower() else f"the token: {said}"
    return NotAllowedError(
        f"{asked.host} refuses {why}",
        hint="It may have expired. Make a new one on the hub's settings page, then "
        f"{_LOG_IN}.",
    )


def _gated(asked: Question) -> GatedError:
    then = f"then {_LOG_IN}" if asked.anonymous else "and wait for the approval"
    return GatedError(
        f"{asked.about} is gated: {asked.host} gives it only to those it has approved",
        hint=f"Ask for access at {asked.page}, {then}.",
    )


def _forbidden(asked: Question, said: str) -> HubError:
    return NotAllowedError(
        f"{asked.host} does not allow {asked.about}: {said}",
        hint=f"Look at {asked.page} with a browser, or {_LOG_IN}.",
    )


def _other(asked: Question, said: str) -> HubError:
    return HubError(
        f"{asked.host} answered {said} for {asked.about}",
        hint=f"Is {asked.endpoint} the address of a hub?",
    )


def _missing(asked: Question, said: str) -> HubError:
    if asked.topic.missing is None:
        return _other(asked, said)
    reason, more = "this token may not see it", ""
    if asked.anonymous:
        reason, more = "it is private", f"; for a private one {_LOG_IN}"
    return asked.topic.missing(
        f"{asked.about} is not on {asked.host}, or {reason}",
        hint=f"{asked.topic.check}{more}.",
    )


def _said(answer: RawAnswer) -> str:
    said = getattr(answer.refusal, "server_message", None) or ""
    return " ".join(str(said).split())[:200]
