"""Laying snapshots out again after something was taken away."""

from collections.abc import Iterator, Sequence

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.repo import RepoId
from hubsync.model.revision import RefName
from hubsync.ports.view import View, ViewSnapshot


def names_of(row: RepoRow) -> Iterator[RepoId]:
    """The repo under each name that views have it under."""
    for name in (row.repo.name, *row.aliases):
        yield RepoId(row.repo.upstream, row.repo.repo_type, name)


def lay_out_again(
    catalog: Catalog,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow,
    refs: Sequence[RefName] = (),
) -> None:
    """Lay out what is held of *snapshot* now, then move *refs* to it."""
    entries = catalog.entries(snapshot)
    state = catalog.state(snapshot).state
    for view in views:
        for repo in names_of(row):
            view.checkout(ViewSnapshot(repo, snapshot.commit.oid, entries, state, refs))
