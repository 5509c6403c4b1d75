"""Commits: recorded, found by what people ask for, forgotten."""

import json
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, func, select

from hubsync.catalog import blobs, leases, mirrored, trees
from hubsync.catalog.bulk import chunks
from hubsync.catalog.columns import as_utc, is_speakable
from hubsync.catalog.errors import NotWholeError
from hubsync.catalog.refs import move_refs
from hubsync.catalog.repos import get_repo, lock_repo, record_repo
from hubsync.catalog.rows import (
    Forgotten,
    Publication,
    Published,
    RepoRow,
    SnapshotRow,
)
from hubsync.catalog.session import Row, Session
from hubsync.catalog.tables import (
    commits,
    file_spans,
    ref_log,
    refs,
    repo_aliases,
    repos,
)
from hubsync.model.digest import GitOid
from hubsync.model.repo import RepoType
from hubsync.model.revision import (
    RefName,
    is_commit,
    may_be_short_commit,
    ref_candidates,
)
from hubsync.model.snapshot import Commit

_SELECT = (
    "SELECT c.id, c.repo_id, c.seq, c.oid, c.title, c.message, c.authors, "
    "c.committed_at, c.recorded_at, c.files, c.bytes FROM commits c "
)
_BY_OID = f"{_SELECT} WHERE c.repo_id = ? AND c.oid = ?"
_BY_REF = (
    f"{_SELECT} JOIN refs r ON r.commit_id = c.id WHERE r.repo_id = ? AND r.name = ?"
)
# "g" comes after every hex digit, so this is "begins with", by index.
_BY_PREFIX = f"{_SELECT} WHERE c.repo_id = ? AND c.oid >= ? AND c.oid < ? LIMIT 2"
_FIRST_BRANCH = (
    f"{_SELECT} JOIN refs r ON r.commit_id = c.id WHERE r.repo_id = ? "
    "AND r.name >= 'refs/heads/' AND r.name < 'refs/heads0' ORDER BY r.name LIMIT 1"
)
_ALL = f"{_SELECT} WHERE c.repo_id = ? ORDER BY c.seq DESC"
_NEWEST = f"{_ALL} LIMIT 1"
_OIDS = "SELECT oid FROM commits WHERE repo_id = ? ORDER BY seq"
# What `resolve` finds for HEAD, of all repos in one go.
_HEADS = (
    f"{_SELECT} JOIN repos r ON c.id = coalesce("  # noqa: S608 - constants
    "(SELECT commit_id FROM refs WHERE repo_id = r.id AND name = 'refs/heads/main'), "
    "(SELECT commit_id FROM refs WHERE repo_id = r.id AND name = 'refs/tags/main'), "
    "(SELECT commit_id FROM refs WHERE repo_id = r.id AND name >= 'refs/heads/' "
    "AND name < 'refs/heads0' ORDER BY name LIMIT 1), "
    "(SELECT id FROM commits WHERE repo_id = r.id ORDER BY seq DESC LIMIT 1))"
)
_NAMES = (
    "SELECT r.upstream, r.repo_type, c.oid FROM commits c "
    "JOIN repos r ON r.id = c.repo_id"
)


def _row(row: Row) -> SnapshotRow:
    commit_id, repo_id, seq, oid, title, message, authors, committed = row[:8]
    recorded, files, size = row[8:]
    when = None if committed is None else as_utc(committed)
    commit = Commit(oid, title, message, tuple(json.loads(authors)), when)
    return SnapshotRow(commit_id, repo_id, seq, commit, as_utc(recorded), files, size)


def resolve(session: Session, repo: RepoRow, revision: str) -> SnapshotRow | None:
    """The snapshot that *revision* means, or None.

    A full commit first, then a ref, then the beginning of a commit, 7 hex digits
    or more, if only one begins so.  ``HEAD`` is main, else the first branch, else the
    newest.
    """
    if not is_speakable(revision):
        return None
    if is_commit(revision) and (found := session.rows(_BY_OID, repo.id, revision)):
        return _row(found[0])
    names = ref_candidates("main" if revision == "HEAD" else revision)
    for name in names:
        if found := session.rows(_BY_REF, repo.id, name):
            return _row(found[0])
    if revision == "HEAD":
        found = session.rows(_FIRST_BRANCH, repo.id) or session.rows(_NEWEST, repo.id)
        return _row(found[0]) if found else None
    if may_be_short_commit(revision):
        found = session.rows(_BY_PREFIX, repo.id, revision, f"{revision}g")
        return _row(found[0]) if len(found) == 1 else None
    return None


def heads(session: Session) -> dict[int, SnapshotRow]:
    """What ``HEAD`` means in each repo that has a commit, by the repo's number."""
    return {row.repo_id: row for row in session.made(_row, _HEADS)}


def snapshots(session: Session, repo: RepoRow) -> list[SnapshotRow]:
    """Newest recorded first."""
    return [_row(row) for row in session.rows(_ALL, repo.id)]


def names(session: Session) -> list[tuple[str, RepoType, str]]:
    """``(upstream, type, commit)`` of every recorded commit, in no order."""
    return [(up, RepoType(kind), oid) for up, kind, oid in session.rows(_NAMES)]


def oids(session: Session, repo: RepoRow) -> list[str]:
    """As they were recorded, oldest first."""
    return [oid for (oid,) in session.rows(_OIDS, repo.id)]


def get_snapshots(connection: Connection, ids: Iterable[int]) -> dict[int, SnapshotRow]:
    found = {}
    for chunk in chunks(sorted(set(ids))):
        statement = select(commits).where(commits.c.id.in_(chunk))
        for row in connection.execute(statement):
            found[row.id] = SnapshotRow(
                row.id,
                row.repo_id,
                row.seq,
                Commit(
                    row.oid,
                    row.title,
                    row.message,
                    tuple(row.authors),
                    row.committed_at,
                ),
                row.recorded_at,
                row.files,
                row.bytes,
            )
    return found


def publish(
    connection: Connection,
    record: Publication,
    now: datetime,
    lease: leases.Lease | None = None,
) -> Published:
    """Record the repo, the commit, its tree; then point the refs to it.

    The *lease* ends with it: from now on the tree keeps what was claimed.

    Raises:
        LeaseLostError, NotWholeError, IdentityChangedError, IntegrityError,
            HostilePathError: and nothing is recorded.
    """
    leases.keep_gc_out(connection)
    leases.require(connection, lease)
    oid = GitOid(record.commit.oid).hex
    tree = trees.tree_of(record.entries)
    repo_id = record_repo(connection, record, now)
    mine = (commits.c.repo_id == repo_id, commits.c.oid == oid)
    commit_id = connection.scalar(select(commits.c.id).where(*mine))
    new = commit_id is None
    if commit_id is None:
        commit_id = _record_commit(connection, repo_id, record.commit, tree, now)
    else:
        trees.require_same_tree(connection, commit_id, oid, tree)
        _complete_commit(connection, commit_id, record.commit)
    _require_whole(connection, record, commit_id)
    moved = move_refs(connection, repo_id, (commit_id, oid), record.refs, now)
    snapshot = get_snapshots(connection, [commit_id])[commit_id]
    if lease is not None:
        leases.drop(connection, [lease.id])
    return Published(get_repo(connection, repo_id), snapshot, new, moved)


def _require_whole(connection: Connection, record: Publication, commit_id: int) -> None:
    must_hold = record.must_hold
    if must_hold is None:
        return
    files = trees.not_held(connection, commit_id)
    missing = [path for path, is_lfs in files if must_hold(path, is_lfs)]
    if missing:
        raise NotWholeError(record.repo, missing[0], len(missing) - 1)


def _record_commit(
    connection: Connection,
    repo_id: int,
    commit: Commit,
    tree: trees.Tree,
    now: datetime,
) -> int:
    newest = select(func.coalesce(func.max(commits.c.seq), 0))
    seq = connection.scalar(newest.where(commits.c.repo_id == repo_id)) or 0
    trees.write_tree(connection, repo_id, seq + 1, tree, now)
    statement = (
        commits.insert()
        .values(
            repo_id=repo_id,
            seq=seq + 1,
            oid=commit.oid,
            title=commit.title,
            message=commit.message,
            authors=list(commit.authors),
            committed_at=commit.committed_at,
            recorded_at=now,
            files=len(tree),
            bytes=sum(entry.size_bytes for entry in tree.values()),
        )
        .returning(commits.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def _complete_commit(connection: Connection, commit_id: int, commit: Commit) -> None:
    """A commit first met by its bare id may get its title and time later."""
    if commit.committed_at is None:
        return
    connection.execute(
        commits.update()
        .where(commits.c.id == commit_id, commits.c.committed_at.is_(None))
        .values(
            title=commit.title,
            message=commit.message,
            authors=list(commit.authors),
            committed_at=commit.committed_at,
        )
    )


def forget(
    connection: Connection, repo: RepoRow, snapshot: SnapshotRow | None
) -> Forgotten:
    """Take out one commit with the refs to it, or the whole repo.

    The ref log keeps what it said while the repo is there.
    """
    if not lock_repo(connection, repo.id):
        return Forgotten(repo, (), (), whole_repo=snapshot is None)
    only = None if snapshot is None else snapshot.commit.oid
    mirrored.drop_of_repo(connection, repo.id, only)
    mine = [commits.c.repo_id == repo.id]
    if snapshot is not None:
        mine.append(commits.c.id == snapshot.id)
    ids = select(commits.c.id).where(*mine)
    named = refs.delete().where(refs.c.commit_id.in_(ids)).returning(refs.c.name)
    names = sorted(connection.scalars(named))
    oids = list(connection.scalars(select(commits.c.oid).where(*mine)))
    connection.execute(commits.delete().where(*mine))
    freed = trees.drop_spans(connection, repo.id)
    blobs.drop_unused_rows(connection, freed)
    if snapshot is None:
        for table in (file_spans, ref_log, repo_aliases):
            connection.execute(table.delete().where(table.c.repo_id == repo.id))
        connection.execute(repos.delete().where(repos.c.id == repo.id))
    return Forgotten(
        repo,
        tuple(sorted(oids)),
        tuple(RefName(name) for name in names),
        whole_repo=snapshot is None,
    )
