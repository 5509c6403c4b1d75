"""Trees as spans: written as the difference to the tree before, read at a commit."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Update, bindparam, select

from hubsync.catalog.blobs import entry_of, key_of, record_wanted
from hubsync.catalog.bulk import insert
from hubsync.catalog.columns import as_utc, is_speakable
from hubsync.catalog.rows import SnapshotRow, SnapshotStateRow
from hubsync.catalog.session import Row, Session
from hubsync.catalog.tables import CURRENT, blobs, commits, file_spans
from hubsync.model.digest import Digest
from hubsync.model.errors import IntegrityError
from hubsync.model.paths import HostilePathError, check_tree_paths
from hubsync.model.snapshot import Commit, HeldEntry, SnapshotState, TreeEntry

# Found by way of the commit's row, whose number is never given out twice: a
# caller may hold the row of a commit that was forgotten meanwhile, and another
# commit may have its seq now.
_TREE = (
    "SELECT s.path, b.size, b.key, s.pointer_oid, b.sha256, b.held, "
    "NOT b.held AND b.damaged_at IS NOT NULL AS damaged, s.xet_hash FROM commits c "
    "JOIN file_spans s ON s.repo_id = c.repo_id "
    "AND s.from_seq <= c.seq AND s.to_seq > c.seq "
    "JOIN blobs b ON b.id = s.blob_id WHERE c.id = ?"
)
_ENTRIES = f"{_TREE} ORDER BY s.path"
_ENTRY = f"{_TREE} AND s.path = ?"
# Not sorted: SQLite would read the whole tree for the sake of the order.
_BY_BLOB = f"{_TREE} AND b.key = ?"
# By path first, from the index alone: else it reads the whole tree all the same.
_BY_XET_HASH = (
    f"{_TREE} AND s.xet_hash = ? AND s.path IN (SELECT x.path FROM file_spans x "  # noqa: S608 - constants
    "WHERE x.repo_id = c.repo_id AND x.xet_hash = ?)"
)
# Of forgotten commits only the numbers are left: the next one that is recorded is
# the first that is known to have the file so.
_CHANGES = (
    "SELECT s.path, k.seq, k.oid, k.title, k.committed_at FROM commits c "
    "JOIN file_spans s ON s.repo_id = c.repo_id "
    "AND s.from_seq <= c.seq AND s.to_seq > c.seq "
    "JOIN commits k ON k.repo_id = c.repo_id AND k.seq = (SELECT min(m.seq) "
    "FROM commits m WHERE m.repo_id = c.repo_id AND m.seq >= s.from_seq) "
    "WHERE c.id = ?"
)
_STATE = (
    "SELECT count(*), coalesce(sum(size), 0), "  # noqa: S608 - constants
    "coalesce(sum(CASE WHEN held THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN held THEN size ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN NOT held AND pointer_oid IS NOT NULL "
    "THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN damaged THEN 1 ELSE 0 END), 0) "
    f"FROM ({_TREE}) AS tree"
)

Tree = dict[str, TreeEntry]  # by path
Name = tuple[str, str | None]  # a blob's key, and the pointer's git id in LFS
Span = tuple[str, str | None, int, str | None]  # the same, from_seq, xet_hash


def _held_entry(row: Row) -> HeldEntry:
    path, size, key, pointer_oid, sha256, held, damaged, xet_hash = row
    digest = Digest(sha256) if held else None
    entry = entry_of(path, size, key, pointer_oid, xet_hash)
    return HeldEntry(entry, digest, damaged=bool(damaged))


def entries(session: Session, snapshot: SnapshotRow) -> list[HeldEntry]:
    return [*session.made(_held_entry, _ENTRIES, snapshot.id)]


def entry(session: Session, snapshot: SnapshotRow, path: str) -> HeldEntry | None:
    if not is_speakable(path):
        return None
    found = session.rows(_ENTRY, snapshot.id, path)
    return _held_entry(found[0]) if found else None


def having(session: Session, snapshot: SnapshotRow, name: str) -> list[HeldEntry]:
    by_xet_hash = session.made(_held_entry, _BY_XET_HASH, snapshot.id, name, name)
    by_blob = session.made(_held_entry, _BY_BLOB, snapshot.id, f"sha256:{name}")
    return [*by_xet_hash, *by_blob]


def changes(session: Session, snapshot: SnapshotRow) -> dict[str, Commit]:
    own, known = snapshot.commit, {snapshot.seq: snapshot.commit}
    found = {}
    for path, seq, oid, title, committed in session.rows(_CHANGES, snapshot.id):
        if seq not in known:
            when = None if committed is None else as_utc(committed)
            commit = Commit(oid, title, committed_at=when)
            # Commits are numbered as they were recorded: an old one may come later.
            known[seq] = commit if _is_no_later(commit, own) else own
        found[path] = known[seq]
    return found


def _is_no_later(commit: Commit, than: Commit) -> bool:
    """Whether it is known of *commit* that it is."""
    first, second = commit.committed_at, than.committed_at
    return first is not None and second is not None and first <= second


def state(session: Session, snapshot: SnapshotRow) -> SnapshotStateRow:
    ((files, size, files_held, bytes_held, pointers, damaged),) = session.rows(
        _STATE, snapshot.id
    )
    missing = files - files_held
    if not missing:
        kind = SnapshotState.COMPLETE
    elif missing == pointers:
        kind = SnapshotState.POINTERS
    else:
        kind = SnapshotState.PARTIAL
    # int(): PostgreSQL's sum of whole numbers is a Decimal.
    return SnapshotStateRow(
        kind, files, int(size), files_held, int(bytes_held), pointers, damaged
    )


def not_held(connection: Connection, commit_id: int) -> list[tuple[str, bool]]:
    """``(path, is it LFS)`` of the files whose bytes the store does not have."""
    statement = f"{_in_dialect(connection, _TREE)} AND NOT b.held ORDER BY s.path"
    rows = connection.exec_driver_sql(statement, (commit_id,))
    return [(row[0], row[3] is not None) for row in rows]


def tree_of(listed: Sequence[TreeEntry]) -> Tree:
    """*listed* by path.

    Raises:
        HostilePathError: a path is listed twice, or no database could take it.
            All other rules were checked where the listing was read.
    """
    tree = {entry.path: entry for entry in listed}
    if len(tree) != len(listed) or not is_speakable("".join(tree)):
        check_tree_paths(entry.path for entry in listed)
        raise HostilePathError("", "it cannot be recorded")
    return tree


def write_tree(
    connection: Connection,
    repo_id: int,
    seq: int,
    tree: Tree,
    now: datetime,
    *,
    before: dict[str, Span] | None = None,
) -> None:
    """Make *tree* the one of commit *seq*, the newest, writing what changed.

    *before* is `current`, for who writes one tree after the other; it is kept so.
    """
    is_last = before is None
    if before is None:
        before = current(connection, repo_id)
    changed = [
        entry
        for path, entry in tree.items()
        if path not in before or before[path][:2] != _name(entry)
    ]
    ids = record_wanted(connection, changed, now)
    ended = [path for path in before if path not in tree]
    ended += [entry.path for entry in changed if entry.path in before]
    if ended:
        connection.execute(
            _change_span(repo_id).values(to_seq=seq),
            [{"its_path": path, "its_from": before[path][2]} for path in ended],
        )
    rows = (
        {
            "repo_id": repo_id,
            "path": entry.path,
            "from_seq": seq,
            "to_seq": CURRENT,
            "blob_id": ids[entry.blob_name],
            "pointer_oid": entry.git_oid.hex if entry.lfs else None,
            "xet_hash": entry.xet_hash,
        }
        for entry in changed
    )
    insert(connection, file_spans, rows)
    _fill_in(connection, repo_id, tree, before)
    if is_last:
        return
    for path in before.keys() - tree.keys():
        del before[path]
    for entry in changed:
        before[entry.path] = (*_name(entry), seq, entry.xet_hash)


def _fill_in(
    connection: Connection, repo_id: int, tree: Tree, before: dict[str, Span]
) -> None:
    """Write down what the hub says now of files that were recorded without it."""
    told = [
        {"its_path": path, "its_from": since, "its_hash": entry.xet_hash}
        for path, (key, pointer, since, known) in before.items()
        if known is None
        and (entry := tree.get(path))
        and entry.xet_hash
        and _name(entry) == (key, pointer)
    ]
    if told:
        connection.execute(
            _change_span(repo_id).values(xet_hash=bindparam("its_hash")), told
        )


def _change_span(repo_id: int) -> Update:
    """Of the spans that ``its_path`` and ``its_from`` name."""
    return file_spans.update().where(
        file_spans.c.repo_id == repo_id,
        file_spans.c.path == bindparam("its_path"),
        file_spans.c.from_seq == bindparam("its_from"),
    )


def require_same_tree(
    connection: Connection, commit_id: int, oid: str, tree: Tree
) -> None:
    """Raise unless *tree* is what is recorded of the commit.

    Raises:
        IntegrityError: naming the first file that differs.
    """
    rows = connection.exec_driver_sql(_in_dialect(connection, _TREE), (commit_id,))
    recorded = {row[0]: (row[2], row[3]) for row in rows}
    listed = {path: _name(entry) for path, entry in tree.items()}
    if recorded == listed:
        return
    differing = [
        path
        for path in sorted(recorded.keys() | listed.keys())
        if recorded.get(path) != listed.get(path)
    ]
    raise IntegrityError(
        f"commit {oid} is recorded with another tree: {len(differing)} files differ, "
        f"the first is {differing[0]!r}",
        hint="A commit never changes: do not trust this answer of the hub.",
    )


def _in_dialect(connection: Connection, statement: str) -> str:
    marker = "?" if connection.dialect.name == "sqlite" else "%s"
    return statement.replace("?", marker)


def _name(entry: TreeEntry) -> Name:
    return key_of(entry), entry.git_oid.hex if entry.lfs else None


def current(connection: Connection, repo_id: int) -> dict[str, Span]:
    """The newest recorded tree."""
    statement = (
        select(
            file_spans.c.path,
            blobs.c.key,
            file_spans.c.pointer_oid,
            file_spans.c.from_seq,
            file_spans.c.xet_hash,
        )
        .join(blobs, blobs.c.id == file_spans.c.blob_id)
        .where(file_spans.c.repo_id == repo_id, file_spans.c.to_seq == CURRENT)
    )
    return {
        path: (key, pointer, since, xet_hash)
        for path, key, pointer, since, xet_hash in connection.execute(statement).all()
    }


def drop_spans(connection: Connection, repo_id: int) -> set[int]:
    """Delete the spans that no commit falls into; the blobs they pointed to.

    Spans that a forgotten newest commit had ended are current again.
    """
    seen = commits.c.seq
    lived = (
        select(commits.c.id)
        .where(
            commits.c.repo_id == file_spans.c.repo_id,
            seen >= file_spans.c.from_seq,
            seen < file_spans.c.to_seq,
        )
        .exists()
    )
    dead = file_spans.delete().where(file_spans.c.repo_id == repo_id, ~lived)
    blob_ids = set(connection.scalars(dead.returning(file_spans.c.blob_id)))
    newest = connection.scalar(
        select(seen).where(commits.c.repo_id == repo_id).order_by(seen.desc()).limit(1)
    )
    if newest is not None:
        connection.execute(
            file_spans.update()
            .where(
                file_spans.c.repo_id == repo_id,
                file_spans.c.to_seq > newest,
                file_spans.c.to_seq < CURRENT,
            )
            .values(to_seq=CURRENT)
        )
    return blob_ids
