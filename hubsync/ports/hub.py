"""A hub: where repos come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.repo import RepoId
from hubsync.model.snapshot import Resolved, TreeEntry


@dataclass(frozen=True, slots=True)
class Source:
    """Where one file's bytes can be asked for.

    *headers* may hold the credential: they are sent to *url*'s own scheme, host
    and port and to no other, whatever redirects say.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog already has of a repo, so that a hub asks for less.

    *heads* are commits recorded before: when one of them is in the history the
    hub shows, the repo is still the one we know, and its info need not be read.
    """

    hub_id: str | None
    heads: frozenset[str]


class Hub(Protocol):
    """One upstream.  Everything after `resolve` is pinned to a commit."""

    @property
    def upstream(self) -> str:
        """The configured name, as in ``RepoId.upstream``."""

    @property
    def requests(self) -> int:
        """Metadata requests sent so far, redirect hops included."""

    @property
    def sends_contents(self) -> bool:
        """Whether its answers so far say that it sends files itself.

        Another hubsync does; the Hub redirects, to a CDN or to another address of
        its own.  False: it does not, or that is not known.
        """

    async def resolve(
        self, repo: RepoId, revision: str | None, known: Known | None
    ) -> Resolved:
        """Pin *revision* (None: the default branch) to a commit.

        ``Resolved.repo`` carries the name the hub answers with now, which
        differs from *repo* after a rename.  ``Resolved.refusal`` is the GatedError of
        a repo that is shown to us, and not given.

        Raises:
            RepoNotFoundError, RevisionNotFoundError, NotAllowedError,
            UnavailableError, HubAnswerError.
        """

    async def tree(self, repo: RepoId, commit: str) -> list[TreeEntry]:
        """Every file of *commit*, all pages read, paths checked, unordered.

        Raises:
            as `resolve`; HostilePathError for a name that could escape.
        """

    def locate(self, repo: RepoId, commit: str, entry: TreeEntry) -> Source:
        """Where to ask for the bytes of *entry*.  Sends nothing."""

    async def aclose(self) -> None:
        """Close connections."""


class HubError(HubsyncError):
    """An upstream said no, or said nothing useful."""


class RepoNotFoundError(HubError):
    """No such repo, or none that this token may see."""

    exit_code = ExitCode.NOT_FOUND


class RevisionNotFoundError(HubError):
    """The repo is there, the revision is not."""

    exit_code = ExitCode.NOT_FOUND


class FileNotFoundOnHubError(HubError):
    """The tree lists a file that the hub does not give."""

    exit_code = ExitCode.NOT_FOUND


class NotAllowedError(HubError):
    """Gated, private, disabled, or a token the hub refuses."""

    exit_code = ExitCode.NOT_ALLOWED


class GatedError(NotAllowedError):
    """Only whom its owner has approved gets this repo."""


class UnavailableError(HubError):
    """No answer, 5xx or 429 after all retries.

    *retry_after_s*: the hub has said how long it wants to be left alone.
    *answered*: it is there, and failed at what it was asked; it may not at other
    things.
    """

    exit_code = ExitCode.UNAVAILABLE
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retry_after_s: float | None = None,
        answered: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s, self.answered = retry_after_s, answered


def is_silence(error: BaseException | None) -> bool:
    """Whether the hub gave no answer at all: the next one would wait in vain, too."""
    return isinstance(error, UnavailableError) and not error.answered


class HubAnswerError(HubError):
    """An answer that is not the hub's protocol (an HTML page, broken JSON)."""

    exit_code = ExitCode.UNAVAILABLE
