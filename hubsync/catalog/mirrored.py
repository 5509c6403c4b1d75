"""What each mirror has brought in, so that the next run need not look at it.

A row says: this commit is held, with all that the mirror selects of it.  Whatever
makes that untrue takes the row out in the same transaction, and the next run then
brings in what is missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    exists,
    or_,
    select,
    true,
    union_all,
)

from hubsync.catalog.bulk import insert, replacing
from hubsync.catalog.leases import keep_gc_out
from hubsync.catalog.tables import (
    blobs,
    commits,
    file_spans,
    mirror_repos,
    repo_aliases,
    repos,
)
from hubsync.model.digest import Digest
from hubsync.model.repo import RepoId, RepoType

_MINE = mirror_repos.c


@dataclass(frozen=True, slots=True)
class MirrorRepo:
    """One revision of a repo that a mirror holds as it should be.

    *repo* and *revision* are as configured and expanded; *selection* is a digest
    of what the mirror selects of its files; *since*: when it was brought in.
    """

    mirror: str
    repo: RepoId
    revision: str  # "main", "refs/tags/v1"
    hub_id: str | None
    commit: str
    selection: str
    since: datetime

    @property
    def key(self) -> tuple[RepoId, str]:
        """What it is the row of, within its mirror."""
        return self.repo, self.revision


def list_mirrored(connection: Connection, mirror: str) -> list[MirrorRepo]:
    """By upstream, type, name and revision."""
    statement = select(mirror_repos).where(_MINE.mirror == mirror)
    ordered = statement.order_by(
        _MINE.upstream, _MINE.repo_type, _MINE.name, _MINE.revision
    )
    return [_row(row) for row in connection.execute(ordered)]


def keep(connection: Connection, rows: Iterable[MirrorRepo]) -> None:
    """Write down *rows*, in place of older ones of the same key.

    One whose commit was forgotten or damaged since it was brought in is left out.
    """
    # Whoever marks a blob as lost waits until the row is there, or we see the mark.
    keep_gc_out(connection)
    latest = {(row.mirror, row.key): row for row in rows}
    ordered = sorted(latest.items(), key=lambda item: item[0])
    whole = [row for _, row in ordered if _is_whole(connection, row)]
    insert(connection, mirror_repos, map(_values, whole), on_conflict=_REPLACING)


def drop(
    connection: Connection, mirror: str, keys: Sequence[tuple[RepoId, str]]
) -> None:
    for repo, revision in keys:
        connection.execute(
            mirror_repos.delete().where(
                _MINE.mirror == mirror, *_named(repo), _MINE.revision == revision
            )
        )


def drop_of_repo(
    connection: Connection, repo_id: int, commit: str | None = None
) -> None:
    """Take out what mirrors hold of a repo; *commit*: only what is at that one."""
    _drop_of_repos(
        connection,
        select(repos.c.id).where(repos.c.id == repo_id),
        true() if commit is None else _MINE.commit_oid == commit,
    )


def drop_needing(connection: Connection, digest: Digest) -> None:
    """Take out every repo that has the blob in a tree, under any of its names.

    Of such a repo all revisions: to look at one in vain costs the next run little.
    """
    needing = (
        select(file_spans.c.repo_id)
        .join(blobs, blobs.c.id == file_spans.c.blob_id)
        .where(or_(blobs.c.sha256 == digest.hex, blobs.c.key == str(digest)))
    )
    _drop_of_repos(connection, needing, true())


def _drop_of_repos(
    connection: Connection, ids: Select[Any], condition: ColumnElement[bool]
) -> None:
    """A mirror may know a repo by a name that it had before."""
    now = select(repos.c.upstream, repos.c.repo_type, repos.c.name)
    then = select(repos.c.upstream, repos.c.repo_type, repo_aliases.c.name)
    then = then.join(repo_aliases, repo_aliases.c.repo_id == repos.c.id)
    both = union_all(now.where(repos.c.id.in_(ids)), then.where(repos.c.id.in_(ids)))
    names = sorted({tuple(row) for row in connection.execute(both)})
    if not names:
        return
    # One by one: SQLite would hold every row of every mirror against the names.
    connection.execute(
        mirror_repos.delete().where(
            _MINE.upstream == bindparam("of_upstream"),
            _MINE.repo_type == bindparam("of_type"),
            _MINE.name == bindparam("of_name"),
            condition,
        ),
        [
            {"of_upstream": upstream, "of_type": repo_type, "of_name": name}
            for upstream, repo_type, name in names
        ],
    )


def _is_whole(connection: Connection, row: MirrorRepo) -> bool:
    """Whether the commit is recorded, and nothing of it is damaged."""
    former = select(repo_aliases.c.repo_id).where(repo_aliases.c.name == row.repo.name)
    # Locked: whoever forgets the repo waits until the row is there to go with it.
    ids = connection.scalars(
        select(repos.c.id)
        .where(
            repos.c.upstream == row.repo.upstream,
            repos.c.repo_type == row.repo.repo_type.value,
            or_(repos.c.name == row.repo.name, repos.c.id.in_(former)),
        )
        .order_by(repos.c.id)
        .with_for_update(read=True)
    ).all()
    span = file_spans.c
    damaged = exists().where(
        span.repo_id == commits.c.repo_id,
        span.from_seq <= commits.c.seq,
        span.to_seq > commits.c.seq,
        blobs.c.id == span.blob_id,
        blobs.c.damaged_at.is_not(None),
        blobs.c.held != true(),
    )
    whole = select(commits.c.id).where(
        commits.c.repo_id.in_(ids), commits.c.oid == row.commit, ~damaged
    )
    return connection.scalar(whole.limit(1)) is not None


def _named(repo: RepoId) -> tuple[ColumnElement[bool], ...]:
    return (
        _MINE.upstream == repo.upstream,
        _MINE.repo_type == repo.repo_type.value,
        _MINE.name == repo.name,
    )


_REPLACING = replacing(mirror_repos)


def _values(row: MirrorRepo) -> dict[str, Any]:
    return {
        "mirror": row.mirror,
        "upstream": row.repo.upstream,
        "repo_type": row.repo.repo_type.value,
        "name": row.repo.name,
        "revision": row.revision,
        "hub_id": row.hub_id,
        "commit_oid": row.commit,
        "selection": row.selection,
        "since": row.since,
    }


def _row(row: Row[Any]) -> MirrorRepo:
    return MirrorRepo(
        row.mirror,
        RepoId(row.upstream, RepoType(row.repo_type), row.name),
        row.revision,
        row.hub_id,
        row.commit_oid,
        row.selection,
        row.since,
    )
