"""What went wrong with one request: not yet an error of the run."""


class RetryLaterError(Exception):
    """Nothing final: ask again, after *wait_s* seconds if the hub said so."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class ExpiredError(RetryLaterError):
    """A signed address is good no more: the hub gives a new one.

    *is_known*: another lane was told so of this address before.
    """

    is_known = False


class StartOverError(Exception):
    """The hub does not go on from where we are."""
