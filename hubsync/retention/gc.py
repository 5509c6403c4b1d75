"""Deleting blobs that nothing refers to.

The caller holds the store's exclusive lock, so no pull is between "this blob is
held" and "this tree needs it".  Rows go before bytes: a crash in between leaves
a file without a row, which the next gc removes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hubsync.catalog.catalog import Catalog
from hubsync.model.digest import Digest
from hubsync.ports.blobs import BlobStore


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was, or with ``dry_run`` would be, deleted."""

    blobs: int
    bytes: int
    strays: int  # files in the store that the catalog does not know


def collect(
    catalog: Catalog,
    blobs: BlobStore,
    *,
    dry_run: bool,
    clean_leftovers: Callable[[], None],
) -> GcReport:
    """Delete every blob that no recorded tree needs."""
    unneeded = catalog.unreferenced_blobs()
    known = {held.digest for held in catalog.all_held()}
    strays = [
        digest
        for digest in blobs.digests()
        # A recorded tree may name bytes that count as lost: the next pull finds them.
        if digest not in known and not catalog.referrers(digest)
    ]
    size = sum(held.size_bytes for held in unneeded)
    if dry_run:
        stray_bytes = sum(_size(blobs, digest) for digest in strays)
        return GcReport(len(unneeded), size + stray_bytes, len(strays))
    catalog.drop_blobs([held.digest for held in unneeded])
    freed = sum(blobs.remove(held.digest) for held in unneeded)
    freed += sum(blobs.remove(digest) for digest in strays)
    clean_leftovers()
    return GcReport(len(unneeded), freed, len(strays))


def _size(blobs: BlobStore, digest: Digest) -> int:
    with blobs.open(digest) as file:
        return file.seek(0, 2)
