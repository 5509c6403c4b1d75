"""Commits written down again, many in one transaction: `hubsync db rebuild`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from hubsync.catalog import leases, trees
from hubsync.catalog.bulk import insert
from hubsync.catalog.refs import move_refs
from hubsync.catalog.repos import record_repo
from hubsync.catalog.rows import Publication
from hubsync.catalog.tables import blobs, commits, repo_aliases, repos
from hubsync.model.record import RepoRecord, RevisionRecord
from hubsync.model.revision import MAIN, RefName
from hubsync.model.snapshot import Commit, RepoInfo
from hubsync.ports.blobs import HeldBlob

_HOLD = (
    "(key) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256, "
    "held = excluded.held, damaged_at = NULL WHERE NOT blobs.held"
)


@dataclass(frozen=True, slots=True)
class Repo:
    """What the repo is; *former*: the name by which the catalog still knows it."""

    record: RepoRecord
    former: str | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """One commit, with those of its blobs that are held."""

    revision: RevisionRecord
    held: Sequence[HeldBlob]


def restore(
    connection: Connection,
    repo: Repo,
    batch: Sequence[Restored],
    refs: Mapping[RefName, str],
    now: datetime,
) -> None:
    """Record the repo, the commits of *batch* after those it has, then the *refs*.

    Nothing is compared: the records are our own.  Blobs count as recorded *now*.
    """
    leases.keep_gc_out(connection)
    record = repo.record
    synced_at = connection.scalar(
        select(repos.c.last_synced_at).where(
            repos.c.upstream == record.repo.upstream,
            repos.c.repo_type == record.repo.repo_type.value,
            repos.c.name == (repo.former or record.repo.name),
        )
    )
    repo_id = _restore_repo(connection, repo, now)
    newest = select(func.coalesce(func.max(commits.c.seq), 0))
    seq = connection.scalar(newest.where(commits.c.repo_id == repo_id)) or 0
    before = trees.current(connection, repo_id) if batch else {}
    for one in batch:
        seq += 1
        _restore_held(connection, one.held, now)
        tree = trees.tree_of([held.entry for held in one.revision.entries])
        trees.write_tree(connection, repo_id, seq, tree, now, before=before)
        _restore_commit(connection, repo_id, seq, one.revision, tree)
    _restore_refs(connection, repo_id, refs)
    _restore_times(connection, repo_id, record.recorded_at, synced_at)


def _restore_held(
    connection: Connection, held: Sequence[HeldBlob], now: datetime
) -> None:
    """As `blobs.record_held`, for many of which hardly any is known."""
    names = {f"git:{one.git_oid}": one for one in held if one.git_oid}
    names |= {f"sha256:{one.digest.hex}": one for one in held}
    rows = [
        {
            "key": key,
            "size": one.size_bytes,
            "sha256": one.digest.hex,
            "held": True,
            "recorded_at": now,
        }
        for key, one in sorted(names.items())
    ]
    insert(connection, blobs, rows, on_conflict=_HOLD)


def _restore_repo(connection: Connection, repo: Repo, now: datetime) -> int:
    record = repo.record
    repo_id = record_repo(
        connection,
        Publication(
            repo=record.repo,
            info=RepoInfo(record.repo, record.hub_id, record.card),
            commit=Commit(""),
            entries=(),
            # The record's card is that of the default branch; no ref moves by this.
            refs=(MAIN,),
            alias=repo.former,
            accept_new_identity=True,
        ),
        now,
    )
    rows = [
        {
            "repo_id": repo_id,
            "name": name,
            "name_folded": name.casefold(),
            "recorded_at": now,
        }
        for name in record.aliases
    ]
    insert(connection, repo_aliases, rows, keep_existing=True)
    return repo_id


def _restore_commit(
    connection: Connection,
    repo_id: int,
    seq: int,
    revision: RevisionRecord,
    tree: trees.Tree,
) -> None:
    commit = revision.commit
    connection.execute(
        commits.insert().values(
            repo_id=repo_id,
            seq=seq,
            oid=commit.oid,
            title=commit.title,
            message=commit.message,
            authors=list(commit.authors),
            committed_at=commit.committed_at,
            recorded_at=revision.recorded_at,
            files=len(tree),
            bytes=sum(entry.size_bytes for entry in tree.values()),
        )
    )


def _restore_refs(
    connection: Connection, repo_id: int, refs: Mapping[RefName, str]
) -> None:
    for name, oid in refs.items():
        row = connection.execute(
            select(commits.c.id, commits.c.recorded_at).where(
                commits.c.repo_id == repo_id, commits.c.oid == oid
            )
        ).one()
        move_refs(connection, repo_id, (row.id, oid), [name], row.recorded_at)


def _restore_times(
    connection: Connection,
    repo_id: int,
    recorded_at: datetime | None,
    synced_at: datetime | None,
) -> None:
    """When the repo was asked for last is not recorded; its newest commit is."""
    mine = commits.c.repo_id == repo_id
    newest = connection.scalar(select(func.max(commits.c.recorded_at)).where(mine))
    seen = [at for at in (synced_at, newest) if at is not None]
    times = {"recorded_at": recorded_at, "last_synced_at": max(seen, default=None)}
    known = {column: at for column, at in times.items() if at is not None}
    if known:
        connection.execute(repos.update().where(repos.c.id == repo_id).values(known))
