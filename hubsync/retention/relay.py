"""Laying snapshots out again after something was taken away."""

from collections.abc import Sequence
from dataclasses import replace

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.snapshot import HeldEntry, SnapshotState
from hubsync.ports.blobs import BlobStore
from hubsync.ports.view import View, ViewSnapshot


def lay_out_again(
    catalog: Catalog,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow,
    blobs: BlobStore | None = None,
) -> None:
    """Lay out what is held of *snapshot* now, then move the refs to it.

    With *blobs*, whatever the catalog says is held and is not there is left out:
    where one blob is lost others may be, and have not been come to yet.
    """
    if not views:
        return  # reading a large tree takes a second
    refs = [ref.name for ref in catalog.refs(row) if ref.commit == snapshot.commit.oid]
    listed = catalog.entries(snapshot)
    entries = listed if blobs is None else [_as_found(blobs, one) for one in listed]
    state = catalog.state(snapshot).state
    if entries != listed:
        state = SnapshotState.PARTIAL
    for view in views:
        for repo in row.names:
            view.checkout(ViewSnapshot(repo, snapshot.commit.oid, entries, state, refs))


def _as_found(blobs: BlobStore, one: HeldEntry) -> HeldEntry:
    if one.digest is None or blobs.has(one.digest):
        return one
    return replace(one, digest=None)
