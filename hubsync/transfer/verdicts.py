"""Errors to end a file with: it is upstream that is wrong."""

from hubsync.model.errors import IntegrityError
from hubsync.ports.blobs import BlobCorruptError
from hubsync.transfer.errors import ContradictionError
from hubsync.transfer.fetch import Fetch


class CorruptUpstreamError(BlobCorruptError):
    """Wrong bytes again after a refetch: upstream itself is wrong."""

    retryable = False

    def __init__(self, fetch: Fetch, error: BlobCorruptError) -> None:
        super().__init__(error.want, error.got, error.got_size_bytes)
        self.args = (
            f"{fetch.repo}: upstream's bytes of {fetch.path} are wrong: {error}",
        )
        self.hint = (
            "Nothing of this revision became visible; the bytes are in quarantine. "
            "Try another time or another network, and tell the hub."
        )


class ContradictoryUpstreamError(IntegrityError):
    """What upstream gives is another file than it lists, also when asked anew."""

    def __init__(self, fetch: Fetch, why: ContradictionError) -> None:
        super().__init__(
            f"{fetch.repo}: upstream contradicts itself about {fetch.path}: {why}, "
            "also after a fetch from scratch",
            hint="Nothing of this revision became visible; what came is in "
            "quarantine. Try another time or another network, and tell the hub.",
        )
