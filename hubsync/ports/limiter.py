"""How many requests a host may still be sent, whoever sends them."""

from collections.abc import Mapping
from typing import Protocol


class Budget(Protocol):
    """What hosts have said about how often they want to be asked.

    *host* is a name with its port, if that is not the usual one.  *kind* tells
    apart the requests that a host may count apart.  Called from the event loop.
    """

    @property
    def quiet_until(self) -> float:
        """Loop time until which silence is what a host asked for."""

    async def passed(self, host: str, kind: str) -> None:
        """Wait until a request of this *kind* may be sent to *host*.

        Raises:
            UnavailableError: that takes longer than we are ready to wait.
        """

    def answered(
        self, host: str, kind: str, status: int, headers: Mapping[str, str]
    ) -> None:
        """Learn from an answer's *headers* (names in lower case)."""
