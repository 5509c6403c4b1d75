"""Dropping recorded snapshots.  On the way out: ref, rows, view; bytes by gc."""

from collections.abc import Sequence

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import Forgotten, RepoRow, SnapshotRow
from hubsync.model.repo import RepoId
from hubsync.ports.view import View, ViewSnapshot


def forget(
    catalog: Catalog,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow | None,
) -> Forgotten:
    """Forget one snapshot of a repo, or (None) all of it."""
    forgotten = catalog.forget(row, snapshot)
    names = (row.repo.name, *row.aliases)
    for view in views:
        for name in names:
            repo = RepoId(row.repo.upstream, row.repo.repo_type, name)
            if forgotten.whole_repo:
                view.remove(repo, None)
                continue
            for commit in forgotten.commits:
                view.remove(repo, commit, forgotten.refs)
    for name in names:
        # A cache folder is named by type and name alone: another upstream's
        # repo of the same name lives in it too.
        for other in catalog.find_by_name(row.repo.repo_type, name):
            if other.repo.upstream != row.repo.upstream:
                _lay_out_again(catalog, views, other)
    return forgotten


def _lay_out_again(catalog: Catalog, views: Sequence[View], row: RepoRow) -> None:
    refs = catalog.refs(row)
    for snapshot in catalog.snapshots(row):
        oid = snapshot.commit.oid
        laid_out = ViewSnapshot(
            row.repo,
            oid,
            catalog.entries(snapshot),
            catalog.state(snapshot).state,
            [ref.name for ref in refs if ref.commit == oid],
        )
        for view in views:
            view.checkout(laid_out)
