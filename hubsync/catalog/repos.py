"""Repos: found by their name, a former one, or the hub's own id of them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from hubsync.catalog.bulk import upsert
from hubsync.catalog.columns import as_utc, dump_json, is_speakable, speakable
from hubsync.catalog.errors import IdentityChangedError
from hubsync.catalog.rows import Publication, RepoRow
from hubsync.catalog.session import Row, Session
from hubsync.catalog.tables import repo_aliases, repos
from hubsync.model.globs import matches
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import MAIN

_COLUMNS = (
    "r.id, r.upstream, r.repo_type, r.name, r.hub_id, r.card, r.recorded_at, "
    "r.last_synced_at"
)
# A name somebody has now comes before the same name in somebody's past.
_BY_NAME = (
    f"SELECT {_COLUMNS}, '' AS alias FROM repos r "  # noqa: S608 - constants
    "WHERE r.name_folded = ? AND r.repo_type = ? "
    f"UNION ALL SELECT {_COLUMNS}, a.name FROM repo_aliases a "
    "JOIN repos r ON r.id = a.repo_id WHERE a.name_folded = ? AND r.repo_type = ?"
)
_LIST = f"SELECT {_COLUMNS} FROM repos r ORDER BY r.upstream, r.repo_type, r.name"  # noqa: S608 - constants
_OF_ALL_COMMITS = (
    *("private", "gated", "disabled", "downloads", "downloadsAllTime", "likes"),
    *("trendingScore", "usedStorage"),
)
_ALIASES = "SELECT name FROM repo_aliases WHERE repo_id = ? ORDER BY name"


def _row(row: Row, aliases: Iterable[str]) -> RepoRow:
    repo_id, upstream, repo_type, name, hub_id, card, recorded, synced = row[:8]
    return RepoRow(
        repo_id,
        RepoId(upstream, RepoType(repo_type), name),
        hub_id,
        card,
        as_utc(recorded),
        as_utc(synced),
        tuple(aliases),
    )


def find_by_name(
    session: Session, repo_type: RepoType, name: str, *, any_case: bool
) -> list[RepoRow]:
    """Repos of that name on any upstream: by current name first, then former."""
    if not is_speakable(name):
        return []
    folded = name.casefold()
    found = session.rows(_BY_NAME, folded, repo_type.value, folded, repo_type.value)
    ranked = sorted(
        ((bool(row[8]), (row[8] or row[3]) != name, row[0]), row) for row in found
    )
    taken: set[str] = set()
    rows = []
    for (_, other_case, _), row in ranked:
        # One upstream has one repo of a name: it may not answer with a former
        # owner of the name besides.
        if row[1] in taken or (other_case and not any_case):
            continue
        taken.add(row[1])
        aliases = (alias for (alias,) in session.rows(_ALIASES, row[0]))
        rows.append(_row(row, aliases))
    return rows


def count(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(repos)).scalar_one())


def find_repo(session: Session, repo: RepoId) -> RepoRow | None:
    found = find_by_name(session, repo.repo_type, repo.name, any_case=False)
    return next((row for row in found if row.repo.upstream == repo.upstream), None)


def list_repos(session: Session, pattern: str | None) -> list[RepoRow]:
    """By upstream, type and name; *pattern* is a shell's, in any case."""
    with session.reading() as connection:
        aliases: defaultdict[int, list[str]] = defaultdict(list)
        named = select(repo_aliases.c.repo_id, repo_aliases.c.name)
        for repo_id, name in connection.execute(named.order_by(repo_aliases.c.name)):
            aliases[repo_id].append(name)
        # Not by way of the tables: their cards would be parsed and written again.
        rows = (_row(row, aliases[row[0]]) for row in connection.exec_driver_sql(_LIST))
        return [row for row in rows if pattern is None or matches(row.repo, [pattern])]


def _of_mapping(row: RowMapping, aliases: Iterable[str]) -> RepoRow:
    return RepoRow(
        row["id"],
        RepoId(row["upstream"], RepoType(row["repo_type"]), row["name"]),
        row["hub_id"],
        dump_json(row["card"]),
        row["recorded_at"],
        row["last_synced_at"],
        tuple(aliases),
    )


def get_repo(connection: Connection, repo_id: int) -> RepoRow:
    """The row of a repo that is there."""
    row = (
        connection.execute(select(repos).where(repos.c.id == repo_id)).mappings().one()
    )
    named = select(repo_aliases.c.name).where(repo_aliases.c.repo_id == repo_id)
    return _of_mapping(row, connection.scalars(named.order_by(repo_aliases.c.name)))


def record_repo(connection: Connection, record: Publication, now: datetime) -> int:
    """Insert, rename or update the repo of *record*; its id, locked until the end.

    Raises:
        IdentityChangedError: the name belongs to another repo now.
    """
    repo, info = record.repo, record.info
    hub_id = speakable(info.hub_id) if info and info.hub_id else None
    row = (
        _locked(connection, repo, repos.c.name == repo.name)
        or (hub_id and _locked(connection, repo, repos.c.hub_id == hub_id))
        or _renamed(connection, record, hub_id)
    )
    if not row:
        repo_id = _insert(connection, record, hub_id, now)
    else:
        repo_id = row["id"]
        known = row["hub_id"]
        if hub_id and known not in (None, hub_id) and not record.accept_new_identity:
            raise IdentityChangedError(repo, known, hub_id)
        values: dict[str, object] = {"last_synced_at": now}
        if hub_id and hub_id != row["hub_id"]:
            _release_hub_id(connection, repo, hub_id)
            values["hub_id"] = hub_id
        card = _card(row["card"], record)
        if card != row["card"]:
            values["card"] = card
        if row["name"] != repo.name:
            values |= {"name": repo.name, "name_folded": repo.name.casefold()}
            _add_alias(connection, repo_id, row["name"], now)
        connection.execute(repos.update().where(repos.c.id == repo_id).values(values))
    if record.alias and record.alias != repo.name:
        _add_alias(connection, repo_id, record.alias, now)
    connection.execute(
        repo_aliases.delete().where(
            repo_aliases.c.name == repo.name,
            # Of its former owner too: a view under that name is ours from now on.
            repo_aliases.c.repo_id.in_(
                select(repos.c.id).where(
                    repos.c.upstream == repo.upstream,
                    repos.c.repo_type == repo.repo_type.value,
                )
            ),
        )
    )
    return repo_id


def _card(known: dict[str, object], record: Publication) -> dict[str, object]:
    """What is said of the repo from now on.

    The hub says it of one commit.  What is shown is the default branch's; of
    another one counts what is true of the whole repo, who may read it above all.
    """
    said = dict(record.info.card) if record.info else {}
    if not said or (known and MAIN not in record.refs):
        return known | {key: said[key] for key in _OF_ALL_COMMITS if key in said}
    return said


def touch(connection: Connection, repo_id: int, now: datetime) -> None:
    mine = repos.update().where(repos.c.id == repo_id)
    connection.execute(mine.values(last_synced_at=now))


def lock_repo(connection: Connection, repo_id: int) -> bool:
    """Keep others from changing the repo until the transaction ends.

    Says whether the repo is there.  SQLite's one writer needs no lock.
    """
    locking = select(repos.c.id).where(repos.c.id == repo_id).with_for_update()
    return connection.scalar(locking) is not None


def _locked(
    connection: Connection, repo: RepoId, condition: ColumnElement[bool]
) -> RowMapping | None:
    statement = select(repos).where(
        repos.c.upstream == repo.upstream,
        repos.c.repo_type == repo.repo_type.value,
        condition,
    )
    return connection.execute(statement.with_for_update()).mappings().one_or_none()


def _renamed(
    connection: Connection, record: Publication, hub_id: str | None
) -> RowMapping | None:
    """The repo recorded under the name that the hub redirected from."""
    if not record.alias:
        return None
    row = _locked(connection, record.repo, repos.c.name == record.alias)
    other = row and hub_id and row["hub_id"] and row["hub_id"] != hub_id
    return None if other else row


def _insert(
    connection: Connection, record: Publication, hub_id: str | None, now: datetime
) -> int:
    repo = record.repo
    statement = (
        repos.insert()
        .values(
            upstream=repo.upstream,
            repo_type=repo.repo_type.value,
            name=repo.name,
            name_folded=repo.name.casefold(),
            hub_id=hub_id,
            card=dict(record.info.card) if record.info else {},
            recorded_at=now,
            last_synced_at=now,
        )
        .returning(repos.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def _release_hub_id(connection: Connection, repo: RepoId, hub_id: str) -> None:
    """Take *hub_id* from whichever other repo was recorded with it."""
    connection.execute(
        repos.update()
        .where(
            repos.c.upstream == repo.upstream,
            repos.c.repo_type == repo.repo_type.value,
            repos.c.hub_id == hub_id,
        )
        .values(hub_id=None)
    )


def _add_alias(connection: Connection, repo_id: int, name: str, now: datetime) -> None:
    connection.execute(
        upsert(connection, repo_aliases)
        .values(
            repo_id=repo_id, name=name, name_folded=name.casefold(), recorded_at=now
        )
        .on_conflict_do_nothing()
    )
