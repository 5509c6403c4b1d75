"""Laying snapshots out again after something was taken away."""

from collections.abc import Sequence

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.ports.view import View, ViewSnapshot


def lay_out_again(
    catalog: Catalog,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow,
) -> None:
    """Lay out what is held of *snapshot* now, then move the refs to it."""
    refs = [ref.name for ref in catalog.refs(row) if ref.commit == snapshot.commit.oid]
    entries = catalog.entries(snapshot)
    state = catalog.state(snapshot).state
    for view in views:
        for repo in row.names:
            view.checkout(ViewSnapshot(repo, snapshot.commit.oid, entries, state, refs))
