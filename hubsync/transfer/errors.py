"""What went wrong with one request: not yet an error of the run."""

import aiohttp


class RetryLaterError(Exception):
    """Nothing final: ask again, after *wait_s* seconds if the hub said so.

    *answered*: the hub failed at what was asked, and is there for other things.
    """

    def __init__(
        self, why: str, wait_s: float | None = None, *, answered: bool = False
    ) -> None:
        super().__init__(why)
        self.wait_s, self.answered = wait_s, answered


class ExpiredError(RetryLaterError):
    """A signed address is good no more: the hub gives a new one.

    *is_known*: another lane was told so of this address before.
    """

    is_known = False


class StartOverError(Exception):
    """The hub does not go on from where we are: all of it has to come anew.

    No fault, if it knows no ranges; then it gives the file in one stream.
    """


class ContradictionError(Exception):
    """An answer that cannot be of the file that was asked for."""


class LongBodyError(Exception):
    """More bytes came than the file, or the part of it, has."""


def broken(host: str, error: Exception) -> RetryLaterError:
    """What to raise when the connection to *host* broke off."""
    why = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientPayloadError):  # which says it in other words
        why = "the body ended too early"
    return RetryLaterError(f"the connection to {host} broke: {why}")
