"""Refs, and the log of where each pointed before."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select

from hubsync.catalog.bulk import upsert
from hubsync.catalog.columns import as_utc
from hubsync.catalog.rows import RefMove, RefRow, RepoRow
from hubsync.catalog.session import Session
from hubsync.catalog.tables import commits, ref_log, refs
from hubsync.model.revision import RefName

_REFS = (
    "SELECT r.name, c.oid, r.updated_at FROM refs r "
    "JOIN commits c ON c.id = r.commit_id WHERE r.repo_id = ? ORDER BY r.name"
)
_LOG = (
    "SELECT name, old_oid, new_oid, at FROM ref_log WHERE repo_id = ? ORDER BY id DESC"
)


def list_refs(session: Session, repo: RepoRow) -> list[RefRow]:
    """By name."""
    found = session.rows(_REFS, repo.id)
    return [RefRow(RefName(name), oid, as_utc(at)) for name, oid, at in found]


def list_moves(session: Session, repo: RepoRow) -> list[RefMove]:
    """Newest first."""
    found = session.rows(_LOG, repo.id)
    return [
        RefMove(RefName(name), old, new, as_utc(at)) for name, old, new, at in found
    ]


def move_refs(
    connection: Connection,
    repo_id: int,
    target: tuple[int, str],
    names: Iterable[RefName],
    now: datetime,
) -> list[RefMove]:
    """Point *names* to the commit *target* (its row's id, its oid); what moved."""
    commit_id, oid = target
    pointing = (
        select(refs.c.name, commits.c.oid)
        .join(commits, commits.c.id == refs.c.commit_id)
        .where(refs.c.repo_id == repo_id)
    )
    before = {row.name: row.oid for row in connection.execute(pointing)}
    moved = [
        RefMove(name, before.get(name.full), oid, now)
        for name in dict.fromkeys(names)
        if before.get(name.full) != oid
    ]
    if not moved:
        return []
    statement = upsert(connection, refs)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["repo_id", "name"],
            set_={"commit_id": new.commit_id, "updated_at": new.updated_at},
        ),
        [
            {
                "repo_id": repo_id,
                "name": move.name.full,
                "commit_id": commit_id,
                "updated_at": now,
            }
            for move in moved
        ],
    )
    connection.execute(
        ref_log.insert(),
        [
            {
                "repo_id": repo_id,
                "name": move.name.full,
                "old_oid": move.old,
                "new_oid": move.new,
                "at": now,
            }
            for move in moved
        ],
    )
    return moved
