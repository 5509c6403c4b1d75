"""Many rows at once, on either database."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from hubsync.catalog.columns import UtcDateTime
from hubsync.model.batches import batched

T = TypeVar("T")

# Names in one IN (…): old SQLite builds take 999 parameters in all.
LOOKUP_ROWS = 900
# Rows that are in memory at once, however many there are.
INSERT_ROWS = 4_000
# Below this, PostgreSQL's COPY is not worth its own round trips.
COPY_ROWS_MIN = 1000


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """*items* in lists: each as many as one statement takes."""
    return batched(items, LOOKUP_ROWS)


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT, in the dialect of *connection*."""
    if connection.dialect.name == "postgresql":
        # Those who use SQLite need not wait for it to be imported.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        return postgresql.insert(table)
    return sqlite.insert(table)


def replacing(table: Table) -> str:
    """What `insert` is told for rows that come in place of those with their keys."""
    keys = [column.name for column in table.primary_key]
    rest = [column.name for column in table.columns if column.name not in keys]
    values = ", ".join(f"{name} = excluded.{name}" for name in rest)
    return f"({', '.join(keys)}) DO UPDATE SET {values}"


def insert(
    connection: Connection,
    table: Table,
    rows: Iterable[dict[str, Any]],
    *,
    keep_existing: bool = False,
    on_conflict: str = "",
) -> None:
    """Insert *rows*; with *keep_existing* those that are there stay as they are.

    *on_conflict* is what else to do with them, in the SQL of both databases.
    """
    clause = on_conflict or ("DO NOTHING" if keep_existing else "")
    for some in batched(rows, INSERT_ROWS):
        if connection.dialect.name == "postgresql" and len(some) >= COPY_ROWS_MIN:
            _copy(connection, table, some, clause)
        else:
            _insert_many(connection, table, some, clause)


def _insert_many(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], clause: str
) -> None:
    """What SQLAlchemy does to each row costs more than SQLite's own work."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(rows[0]))
    statement = f"INSERT INTO {table.name} ({_names(rows)}) VALUES ({marks})"  # noqa: S608 - names of our own
    columns = []
    for name in rows[0]:
        values: Iterable[Any] = map(itemgetter(name), rows)
        bind = _processor(connection, table, name)
        columns.append(values if bind is None else map(bind, values))
    # Column by column, so that a row costs no call unless its type asks for one.
    connection.exec_driver_sql(
        f"{statement} ON CONFLICT {clause}" if clause else statement,
        list(zip(*columns, strict=True)),
    )


def _copy(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], clause: str
) -> None:
    names = _names(rows)
    if not clause:
        _copy_rows(connection, table, f"COPY {table.name} ({names}) FROM STDIN", rows)
        return
    # COPY knows no ON CONFLICT, so the rows go through a table of their own.
    staged = f"staged_{table.name}"
    connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {staged} ON COMMIT DROP AS "  # noqa: S608 - names of our own
        f"SELECT {names} FROM {table.name} WITH NO DATA"
    )
    _copy_rows(connection, table, f"COPY {staged} ({names}) FROM STDIN", rows)
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {staged} "  # noqa: S608 - names of our own
        f"ON CONFLICT {clause}"
    )
    connection.exec_driver_sql(f"DROP TABLE {staged}")


def _names(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f'"{column}"' for column in rows[0])


def _copy_rows(
    connection: Connection,
    table: Table,
    statement: str,
    rows: Sequence[dict[str, Any]],
) -> None:
    """COPY past SQLAlchemy, which does not know it, in SQLAlchemy's manner."""
    binds = {column: _binder(connection, table, column) for column in rows[0]}
    driver: Any = connection.connection.cursor()
    base = connection.dialect.loaded_dbapi.Error
    try:
        with driver.copy(statement) as copy:
            for row in rows:
                copy.write_row([bind(row[name]) for name, bind in binds.items()])
    except base as error:
        raise DBAPIError.instance(statement, None, error, base) from error


def _binder(connection: Connection, table: Table, column: str) -> Callable[[Any], Any]:
    return _processor(connection, table, column) or (lambda value: value)


def _processor(
    connection: Connection, table: Table, column: str
) -> Callable[[Any], Any] | None:
    """What SQLAlchemy would do to a value of *column* on its way out."""
    kind = table.c[column].type
    bind = kind.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    if bind and isinstance(kind, UtcDateTime):
        return lru_cache(maxsize=8)(bind)  # most rows have the same
    return bind
