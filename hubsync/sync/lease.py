"""Holding a lease while blobs are brought in, and recording them under it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.errors import CatalogError
from hubsync.catalog.leases import Lease, LeaseLostError
from hubsync.ports.blobs import BlobStore, HeldBlob, Ingest

BEAT_S = 5.0


@contextmanager
def leased(
    catalog: Catalog, purpose: str, *, beat_s: float = BEAT_S
) -> Iterator[Lease]:
    """Hold a lease, with a sign of life every *beat_s* seconds.

    Claim, look what is held, bring in the rest, publish; then the lease is over.
    """
    lease = catalog.open_lease(purpose)
    over = threading.Event()
    heart = threading.Thread(
        target=_beat, args=(catalog, lease, over, beat_s), name="lease", daemon=True
    )
    heart.start()
    try:
        yield lease
    finally:
        over.set()
        heart.join()
        catalog.close_lease(lease)


def _beat(catalog: Catalog, lease: Lease, over: threading.Event, beat_s: float) -> None:
    while not over.wait(beat_s):
        try:
            if not catalog.beat(lease):
                return  # published, or lost: the next write of ours tells which
        except CatalogError:
            # Busy or out of reach just now: the next beat may get through, and
            # whoever needs the catalog for more than a sign of life will say so.
            continue


@dataclass(frozen=True, slots=True)
class GroupRecorder:
    """Makes verified blobs durable and writes them down, under a lease."""

    catalog: Catalog
    blobs: BlobStore
    lease: Lease

    def __call__(self, group: Sequence[Ingest | HeldBlob]) -> None:
        """Claim, then bytes, then the rows that say they are held.

        The digest of a plain file is known only now that it was hashed, and from
        the moment it has its final name only the claim keeps gc away from it.

        Raises:
            LeaseLostError: a gc took us for dead.  Nothing was recorded.
        """
        fresh = [one for one in group if not isinstance(one, HeldBlob)]
        held = [_held_blob(one) for one in group]
        try:
            self.catalog.claim(self.lease, (blob.digest for blob in held))
            for one in group:
                if isinstance(one, HeldBlob):
                    self._require_there(one)
        except BaseException:
            for ingest in fresh:
                ingest.abort()
            raise
        self.blobs.publish(fresh)
        self.catalog.record_blobs(held, self.lease)

    def _require_there(self, blob: HeldBlob) -> None:
        """Somebody else put it there, and a gc may have been faster than we."""
        if not self.blobs.has(blob.digest, blob.size_bytes):
            raise LeaseLostError(self.lease.purpose)


def _held_blob(one: Ingest | HeldBlob) -> HeldBlob:
    if isinstance(one, HeldBlob):
        return one
    assert one.verified, "the engine verifies"
    return one.verified
