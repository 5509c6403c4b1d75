"""Who may read what an upstream has, by the upstream's own word."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from hubsync.model.errors import ExitCode, HubsyncError
from hubsync.model.repo import RepoId


class Verdict(Enum):
    """What somebody may do with a repo."""

    YES = "yes"
    GATED = "gated"  # may see that it is there and what is in it; may not have it
    DISABLED = "disabled"  # nobody gets its contents any more
    NO = "no"  # may not even hear that it is there
    WRONG_TOKEN = "wrong token"  # noqa: S105 - a verdict


@dataclass(frozen=True, slots=True)
class Account:
    """Who has a token: what ``whoami-v2`` says, as far as clients show it."""

    said: Mapping[str, object]


class Gate(Protocol):
    """Asks upstreams; keeps nothing."""

    async def may_read(self, repo: RepoId, token: str | None) -> Verdict:
        """What the holder of *token*, a token of the upstream's own, may do.

        None asks for those who show none.  The token goes to the upstream's
        configured address and nowhere else, and no other token goes along.

        Raises:
            GateUnavailableError: the upstream does not say.
        """

    async def whose(self, token: str, upstream: str) -> Account | None:
        """Whose *token* is; None: *upstream* refuses it.  It goes nowhere else.

        Raises:
            GateUnavailableError: the upstream does not say.
        """


class GateUnavailableError(HubsyncError):
    """The upstream does not say who may read.

    *silent*: it said nothing at all, and would be waited for again.  *down*: it
    does not answer, or says that it cannot now; not: it says what means nothing.
    """

    exit_code = ExitCode.UNAVAILABLE
    retryable = True

    def __init__(
        self, message: str, *, silent: bool = False, down: bool = False
    ) -> None:
        super().__init__(message)
        self.silent, self.down = silent, silent or down
