"""Blobs: which bytes the store holds, by every name they are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    true,
)

from hubsync.catalog.bulk import INSERT_ROWS, chunks, insert, upsert
from hubsync.catalog.leases import keep_all_out
from hubsync.catalog.session import Row, Session
from hubsync.catalog.tables import blobs, commits, file_spans, lease_claims
from hubsync.model.batches import batched
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import IntegrityError
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.blobs import HeldBlob

_SHA256, _GIT = "sha256:", "git:"
_IS_GIT = blobs.c.key.startswith(_GIT)
_IN_A_TREE = exists().where(file_spans.c.blob_id == blobs.c.id)
_SPAN = file_spans.c
_IN_COMMIT = (
    (commits.c.repo_id == _SPAN.repo_id)
    & (commits.c.seq >= _SPAN.from_seq)
    & (commits.c.seq < _SPAN.to_seq)
)
_PAGE_ROWS = 1000


class Known(NamedTuple):
    """What is recorded of a blob."""

    id: int
    size: int
    held: bool


class DamagedFile(NamedTuple):
    """A file of one commit that is to be fetched again; *key* is its blob's."""

    key: str
    size_bytes: int
    since: datetime
    commit_id: int
    path: str


def key_of(entry: TreeEntry) -> str:
    """How the blob of *entry* is known before its bytes are held."""
    if entry.lfs:
        return f"{_SHA256}{entry.lfs.hex}"
    return f"{_GIT}{entry.git_oid.hex}"


def entry_of(
    path: str, size: int, key: str, pointer_oid: str | None, xet_hash: str | None
) -> TreeEntry:
    """The entry that `key_of` was asked about."""
    if pointer_oid is None:
        return TreeEntry(path, size, GitOid(key.removeprefix(_GIT)))
    return TreeEntry(path, size, GitOid(pointer_oid), Digest.parse(key), xet_hash)


def record_held(
    connection: Connection, held: Sequence[HeldBlob], now: datetime
) -> None:
    """Write down that the store has *held*, under the names that trees use.

    A plain blob is written down as LFS content too, so that a repo which has
    the same bytes in LFS need not fetch them.
    """
    rows = {}
    for blob in held:
        row = {"size": blob.size_bytes, "sha256": blob.digest.hex}
        rows[f"{_SHA256}{blob.digest.hex}"] = row
        if blob.git_oid:
            rows[f"{_GIT}{blob.git_oid.hex}"] = row
    if not rows:
        return
    statement = upsert(connection, blobs)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["key"],
            set_={
                "size": new.size,
                "sha256": new.sha256,
                "held": True,
                "damaged_at": None,
            },
        ),
        # In one order everywhere, so that two writers wait and never deadlock.
        [
            {"key": key, **rows[key], "held": True, "recorded_at": now}
            for key in sorted(rows)
        ],
    )


def record_wanted(
    connection: Connection, entries: Iterable[TreeEntry], now: datetime
) -> dict[Digest | GitOid, int]:
    """Rows for the blobs of *entries*, held or not: name -> id.

    Raises:
        IntegrityError: a size is not the one of the bytes we hold.
    """
    # In one order everywhere, that of the keys, so that two writers wait and never
    # deadlock.  Without making all keys: there may be very many.
    named = {one.blob_name: one for one in entries}
    names = sorted(named, key=lambda name: name.hex)
    names.sort(key=lambda name: isinstance(name, Digest))
    ordered = (named[name] for name in names)
    ids: dict[Digest | GitOid, int] = {}
    for some in batched(ordered, INSERT_ROWS):
        found = _record_some(connection, some, now)
        ids |= {entry.blob_name: found[key_of(entry)] for entry in some}
    return ids


def _record_some(
    connection: Connection, entries: Iterable[TreeEntry], now: datetime
) -> dict[str, int]:
    """As `record_wanted`, of no more than memory holds: key -> id."""
    sizes = {key_of(entry): entry.size_bytes for entry in entries}
    found = _by_key(connection, sizes)
    rows = [
        {
            "key": key,
            "size": sizes[key],
            "sha256": key[len(_SHA256) :] if key.startswith(_SHA256) else None,
            "held": False,
            "recorded_at": now,
        }
        for key in sorted(sizes.keys() - found.keys())
    ]
    insert(connection, blobs, rows, keep_existing=True)
    found |= _by_key(connection, [str(row["key"]) for row in rows])
    _settle_sizes(connection, sizes, found)
    return {key: row.id for key, row in found.items()}


def _by_key(connection: Connection, keys: Iterable[str]) -> dict[str, Known]:
    columns = select(blobs.c.key, blobs.c.id, blobs.c.size, blobs.c.held)
    found: dict[str, Known] = {}
    for chunk in chunks(keys):
        rows = connection.execute(columns.where(blobs.c.key.in_(chunk)))
        # At once: row by row costs more than the look-up.
        found |= {key: Known(*known) for key, *known in rows.all()}
    return found


def _settle_sizes(
    connection: Connection,
    sizes: dict[str, int],
    found: dict[str, Known],
) -> None:
    """Bytes we hold have the size they have; before that, the last word counts.

    Otherwise a repo that lists a popular file with a wrong size would keep
    every honest repo from being recorded after it.
    """
    wrong = [(key, row) for key, row in found.items() if row.size != sizes[key]]
    for key, row in wrong:
        if row.held:
            raise IntegrityError(
                f"the hub lists {key} with {sizes[key]} bytes, but it has {row.size}"
            )
    if wrong:
        connection.execute(
            blobs.update()
            .where(blobs.c.id == bindparam("blob"))
            .values(size=bindparam("claimed")),
            [{"blob": row.id, "claimed": sizes[key]} for key, row in wrong],
        )


def _held() -> Select[Any]:
    """Held blobs once each, with the git id if one of their names has it."""
    git = func.max(case((_IS_GIT, blobs.c.key)))
    columns = select(blobs.c.sha256, func.max(blobs.c.size), git)
    return columns.where(blobs.c.held == true()).group_by(blobs.c.sha256)


def _held_blob(row: Row) -> HeldBlob:
    hexadecimal, size, key = row
    git_oid = GitOid(key.removeprefix(_GIT)) if key else None
    return HeldBlob(Digest(hexadecimal), size, git_oid)


def held(session: Session, digests: Iterable[Digest]) -> dict[Digest, int]:
    columns = select(blobs.c.sha256, blobs.c.size).where(blobs.c.held == true())
    found: dict[Digest, int] = {}
    with session.reading() as connection:
        for chunk in chunks(digest.hex for digest in digests):
            rows = connection.execute(columns.where(blobs.c.sha256.in_(chunk)))
            found |= {Digest(row.sha256): row.size for row in rows}
    return found


def held_between(session: Session, first: Digest, last: Digest) -> set[Digest]:
    columns = select(blobs.c.sha256).where(
        # Not BETWEEN: PostgreSQL does not read a collation inside of it.
        blobs.c.held == true(),
        blobs.c.sha256 >= first.hex,
        blobs.c.sha256 <= last.hex,
    )
    with session.reading() as connection:
        return {Digest(hexadecimal) for hexadecimal in connection.scalars(columns)}


def held_by_git_oid(session: Session, oids: Iterable[GitOid]) -> dict[GitOid, HeldBlob]:
    columns = select(blobs.c.key, blobs.c.size, blobs.c.sha256)
    found = {}
    with session.reading() as connection:
        for chunk in chunks(f"{_GIT}{oid.hex}" for oid in oids):
            wanted = columns.where(blobs.c.held == true(), blobs.c.key.in_(chunk))
            for row in connection.execute(wanted):
                key, size, hexadecimal = row
                oid = GitOid(key.removeprefix(_GIT))
                found[oid] = HeldBlob(Digest(hexadecimal), size, oid)
    return found


def all_held(session: Session) -> Iterator[HeldBlob]:
    """By digest, page by page: nothing is held open between two of them."""
    return _pages(session, true())


def held_totals(tx: Connection) -> tuple[int, int]:
    """``(blobs, bytes)`` that are held: each once, under however many names."""
    once = select(blobs.c.sha256, func.max(blobs.c.size).label("size"))
    held = once.where(blobs.c.held).group_by(blobs.c.sha256).subquery()
    row = tx.execute(
        select(func.count(), func.coalesce(func.sum(held.c.size), 0)).select_from(held)
    ).one()
    return int(row[0]), int(row[1])


def unneeded(
    session: Session, older_than: datetime | None, dead: Sequence[int]
) -> Iterator[HeldBlob]:
    """Held blobs that no tree and no lease needs; leases in *dead* do not count."""
    return _pages(session, ~_needed(dead) & _recorded_before(older_than))


def _needed(dead: Sequence[int] = ()) -> ColumnElement[bool]:
    """Whether a tree or a lease needs the blob, under any of its names."""
    other = blobs.alias()
    same = other.c.sha256 == blobs.c.sha256
    in_a_tree = select(other.c.id).join(file_spans, file_spans.c.blob_id == other.c.id)
    claimed = select(other.c.id).join(lease_claims, lease_claims.c.key == other.c.key)
    if dead:
        claimed = claimed.where(lease_claims.c.lease_id.not_in(dead))
    return exists(in_a_tree.where(same)) | exists(claimed.where(same))


def _recorded_before(when: datetime | None) -> ColumnElement[bool]:
    if when is None:
        return true()
    other = blobs.alias()
    younger = select(other.c.id).where(
        other.c.sha256 == blobs.c.sha256, other.c.recorded_at >= when
    )
    return ~exists(younger)


def _pages(session: Session, condition: ColumnElement[bool]) -> Iterator[HeldBlob]:
    after = ""
    while True:
        statement = _held().where(condition, blobs.c.sha256 > after)
        page = statement.order_by(blobs.c.sha256).limit(_PAGE_ROWS)
        with session.reading() as connection:
            rows = connection.execute(page).all()
        yield from map(_held_blob, rows)
        if len(rows) < _PAGE_ROWS:
            return
        after = rows[-1][0]


def drop_unneeded(
    connection: Connection, digests: Iterable[Digest], older_than: datetime | None
) -> list[Digest]:
    """Forget those of *digests* that nobody needs, before their bytes go.

    In no tree under any name, so no row of theirs is missed.
    """
    keep_all_out(connection)
    dropped: set[str] = set()
    for chunk in chunks(digest.hex for digest in digests):
        mine = (blobs.c.sha256.in_(chunk), blobs.c.held == true())
        unneeded = select(blobs.c.sha256).where(
            *mine, ~_needed(), _recorded_before(older_than)
        )
        gone = set(connection.scalars(unneeded))
        for some in chunks(sorted(gone)):
            connection.execute(blobs.delete().where(blobs.c.sha256.in_(some)))
        dropped |= gone
    return [Digest(one) for one in sorted(dropped)]


def needed(
    connection: Connection, digests: Iterable[Digest], dead: Sequence[int] = ()
) -> set[Digest]:
    """Those of *digests* whose bytes must stay in the store.

    They are held, or a tree or a lease names them without being held: of those
    the bytes may be on their way in, or be found by the next pull.
    """
    found: set[Digest] = set()
    for chunk in chunks(digest.hex for digest in digests):
        rows = select(blobs.c.sha256).where(
            blobs.c.sha256.in_(chunk), (blobs.c.held == true()) | _IN_A_TREE
        )
        found.update(Digest(one) for one in connection.scalars(rows))
        claimed = select(lease_claims.c.key).where(
            lease_claims.c.key.in_([f"{_SHA256}{one}" for one in chunk])
        )
        if dead:
            claimed = claimed.where(lease_claims.c.lease_id.not_in(dead))
        found.update(Digest.parse(key) for key in connection.scalars(claimed))
    return found


def mark_lost(connection: Connection, digest: Digest, now: datetime) -> bool:
    # What a git id stands for is unknown again; an LFS name says it itself.
    sha256 = case((_IS_GIT, None), else_=blobs.c.sha256)
    marked = connection.execute(
        blobs.update()
        .where(blobs.c.sha256 == digest.hex, blobs.c.held == true())
        .values(held=False, sha256=sha256, damaged_at=now)
    )
    return marked.rowcount > 0


def damaged(connection: Connection) -> list[DamagedFile]:
    """Files of recorded trees whose bytes were held and are not, by blob."""
    statement = (
        select(blobs.c.key, blobs.c.size, blobs.c.damaged_at, commits.c.id, _SPAN.path)
        .join_from(blobs, file_spans, _SPAN.blob_id == blobs.c.id)
        .join(commits, _IN_COMMIT)
        .where(blobs.c.damaged_at.is_not(None), blobs.c.held != true())
        .order_by(blobs.c.key, commits.c.repo_id, commits.c.seq.desc(), _SPAN.path)
    )
    return [DamagedFile(*row) for row in connection.execute(statement)]


def drop_unused_rows(connection: Connection, ids: Iterable[int]) -> None:
    """Delete those of the rows *ids* that are neither held nor in any tree."""
    for chunk in chunks(sorted(ids)):
        connection.execute(
            blobs.delete().where(
                blobs.c.id.in_(chunk), blobs.c.held != true(), ~_IN_A_TREE
            )
        )


def referrers(connection: Connection, digest: Digest) -> list[tuple[int, str]]:
    """``(commit id, path)`` of every recorded tree that has the blob."""
    statement = (
        select(commits.c.id, _SPAN.path)
        .join_from(blobs, file_spans, _SPAN.blob_id == blobs.c.id)
        .join(commits, _IN_COMMIT)
        .where(or_(blobs.c.sha256 == digest.hex, blobs.c.key == str(digest)))
        .order_by(commits.c.repo_id, commits.c.seq.desc(), _SPAN.path)
    )
    return [(commit, path) for commit, path in connection.execute(statement)]
