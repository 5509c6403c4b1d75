"""The way out of the store: aside first, deleted after."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from hubsync.model.digest import Digest


@dataclass(frozen=True, slots=True)
class Trashed:
    """A blob that was put into the trash."""

    digest: Digest
    name: str  # one of its own: the same blob may lie there twice
    size_bytes: int
    since_s: float  # wall clock: how long a person may still change their mind


class Trash(Protocol):
    """Where blobs wait for the decision about them to become final."""

    def put(self, digest: Digest, now_s: float) -> Trashed | None:
        """Take the blob out of the store in one step; None: it is not there."""

    def items(self) -> Iterator[Trashed]:
        """Everything that is there, in no order."""

    def put_back(self, item: Trashed) -> bool:
        """Return the blob to the store, unless it is there anew; durably.

        False: nothing was put back.
        """

    def delete(self, item: Trashed) -> None:
        """For good.  Harmless when it is gone."""
