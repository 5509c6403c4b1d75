"""Dropping recorded snapshots.  On the way out: ref, rows, view; bytes by gc."""

from collections.abc import Sequence

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.recording import write_repo
from hubsync.catalog.rows import Forgotten, RepoRow, SnapshotRow
from hubsync.ports.records import Records
from hubsync.ports.view import View
from hubsync.retention.relay import lay_out_again


def forget(
    catalog: Catalog,
    records: Records,
    views: Sequence[View],
    row: RepoRow,
    snapshot: SnapshotRow | None,
) -> Forgotten:
    """Forget one snapshot of a repo, or (None) all of it.

    The view goes first: whoever is killed in between repeats the command, which
    the rows still allow.  Hold the views' lock alone: a pull that is laying the
    snapshot out would else put it back, and nobody would take it away again.
    One that has yet to lay it out finds its rows gone, and says so.  While we
    waited for the lock, another may have forgotten it, and a pull have brought it
    in again: that is not what was to be forgotten.
    """
    if not _is_still_there(catalog, row, snapshot):
        return Forgotten(row, (), (), whole_repo=snapshot is None)
    commits = [] if snapshot is None else [snapshot.commit.oid]
    refs = [one.name for one in catalog.refs(row) if one.commit in commits]
    whole_repo = snapshot is None or len(catalog.snapshots(row)) == 1
    for view in views:
        for repo in row.names:
            if whole_repo:
                view.remove(repo, None)
                continue
            for commit in commits:
                view.remove(repo, commit, refs)
    oids = commits or [one.commit.oid for one in catalog.snapshots(row)]
    for repo in row.names:
        records.hide(repo, oids)
    forgotten = catalog.forget(row, snapshot)
    _forget_records(catalog, records, row, oids)
    for repo in row.names:
        # A cache folder is named by type and name alone: another upstream's
        # repo of the same name lives in it too.
        for other in catalog.find_by_name(repo.repo_type, repo.name):
            if other.repo.upstream != row.repo.upstream:
                _lay_out_whole(catalog, views, other)
    return forgotten


def _is_still_there(
    catalog: Catalog, row: RepoRow, snapshot: SnapshotRow | None
) -> bool:
    now = catalog.find_repo(row.repo)
    if now is None or now.id != row.id:
        return False
    return snapshot is None or snapshot.id in {one.id for one in catalog.snapshots(row)}


def _forget_records(
    catalog: Catalog, records: Records, row: RepoRow, oids: Sequence[str]
) -> None:
    now = catalog.find_repo(row.repo)
    for repo in row.names:
        records.drop_hidden(repo, oids)
        if catalog.find_repo(repo) is None:
            records.drop_repo(repo)
    if now is not None and now.id == row.id:
        write_repo(catalog, records, now)


def _lay_out_whole(catalog: Catalog, views: Sequence[View], row: RepoRow) -> None:
    for snapshot in catalog.snapshots(row):
        lay_out_again(catalog, views, row, snapshot)
