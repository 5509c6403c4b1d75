"""Dropping recorded snapshots.  On the way out: ref, rows, view; bytes by gc."""

from collections.abc import Sequence

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import Forgotten, RepoRow, SnapshotRow
from hubsync.model.repo import RepoId
from hubsync.ports.view import View


def forget(
    catalog: Catalog,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow | None,
) -> Forgotten:
    """Forget one snapshot of a repo, or (None) all of it."""
    forgotten = catalog.forget(row, snapshot)
    for view in views:
        for name in (row.repo.name, *row.aliases):
            repo = RepoId(row.repo.upstream, row.repo.repo_type, name)
            if forgotten.whole_repo:
                view.remove(repo, None)
                continue
            for commit in forgotten.commits:
                view.remove(repo, commit, forgotten.refs)
    return forgotten
