"""Connections: one way to read, one way to write, errors in our own words."""

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError

from hubsync.catalog import sqlite
from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.errors import (
    CatalogAddressError,
    CatalogReadOnlyError,
    explain,
    sqlstate,
)

T = TypeVar("T")
Row = Sequence[Any]

# Two publishers met: a deadlock, or one inserted what the other looked for.
# The second run finds what the first one did.
_RETRYABLE_STATES = frozenset(["40001", "40P01", "23503", "23505"])
_TRIES_MAX = 5


class Session:
    """A catalog's connections.  Safe to use from any number of threads."""

    def __init__(self, address: CatalogAddress, *, read_only: bool = False) -> None:
        self.address, self.read_only = address, read_only
        self.engine = make_engine(address, read_only=read_only)
        self._writer = self.engine.execution_options(hubsync_write=True)
        # SQLite's transactions all see one state; PostgreSQL's do if asked to.
        self._reader = (
            self.engine
            if address.path
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        # SQLite lets one write at a time and makes the others poll; in one
        # process a lock hands over at once and in turn.
        self._turn: contextlib.AbstractContextManager[object] = (
            threading.Lock() if address.path else contextlib.nullcontext()
        )
        self._rows: SqliteRows | PostgresRows = (
            SqliteRows(address, read_only=read_only)
            if address.path
            else PostgresRows(self.engine)
        )

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection whose statements all see the same state."""
        try:
            with self._reader.connect() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise explain(error, str(self.address)) from error

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run *work* in one transaction; anew if another's got in its way."""
        if self.read_only:
            raise CatalogReadOnlyError(
                f"the catalog {self.address} was opened for reading only"
            )
        tries = 0
        while True:
            tries += 1
            try:
                with self._turn, self._writer.begin() as connection:
                    return work(connection)
            except (SQLAlchemyError, sqlite3.Error) as error:
                met = isinstance(error, DBAPIError) and (
                    sqlstate(error) in _RETRYABLE_STATES
                    or sqlite.found_no_moment(error.orig)
                )
                if not met or tries == _TRIES_MAX:
                    raise explain(error, str(self.address)) from error

    def rows(self, sql: str, *parameters: object) -> Sequence[Row]:
        """All rows of one SELECT written with ``?``: the fast way to read."""
        return self.made(tuple, sql, *parameters)

    def made(
        self, make: Callable[[Row], T], sql: str, *parameters: object
    ) -> Sequence[T]:
        """What *make* makes of each row, without having all rows besides."""
        try:
            return self._rows.fetch(make, sql, parameters)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise explain(error, str(self.address)) from error

    def data_version(self) -> object:
        """Equal to an earlier one if nothing was committed since, by anybody.

        None: the database cannot say (PostgreSQL).
        """
        try:
            return self._rows.data_version()
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise explain(error, str(self.address)) from error

    def close(self) -> None:
        self._rows.close()
        self.engine.dispose()


class SqliteRows:
    """Reads over held connections, without SQLAlchemy in between (~10 µs).

    A connection serves one thread at a time and goes back to the shelf, so
    there are as many as ever read at once.
    """

    def __init__(self, address: CatalogAddress, *, read_only: bool) -> None:
        assert address.path
        self._path, self._read_only = address.path, read_only
        self._shelf: deque[sqlite3.Connection] = deque()
        self._closed = False
        # SQLite counts per connection, so one is kept to compare with itself.
        self._watch: sqlite3.Connection | None = None
        self._watches = 0
        self._turn = threading.Lock()

    def fetch(
        self, make: Callable[[Row], T], sql: str, parameters: Sequence[object]
    ) -> list[T]:
        try:
            connection = self._shelf.pop()
        except IndexError:
            connection = self._connect()
        if _is_outdated(connection):
            connection.close()
            connection = self._connect()
        try:
            # Never left half read: an open cursor would hold a read transaction
            # and keep the write-ahead log from being shortened.
            with contextlib.closing(_select(connection, sql, parameters)) as rows:
                return [make(row) for row in rows]
        finally:
            if self._closed:
                connection.close()
            else:
                self._shelf.append(connection)

    def data_version(self) -> object:
        """SQLite's own count of what others have committed (~4 µs)."""
        with self._turn:
            if self._watch is None or _is_outdated(self._watch):
                if self._watch:
                    self._watch.close()
                    self._watch = None  # should there be nothing to connect to now
                self._watch, self._watches = self._connect(), self._watches + 1
            ((version,),) = self._watch.execute("PRAGMA data_version").fetchall()
            return self._watches, version

    def _connect(self) -> sqlite3.Connection:
        return sqlite.connect(self._path, read_only=self._read_only)

    def close(self) -> None:
        self._closed = True
        while self._shelf:
            with contextlib.suppress(IndexError):
                self._shelf.pop().close()
        with self._turn:
            if self._watch:
                self._watch.close()


def _select(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[object]
) -> sqlite3.Cursor:
    try:
        return connection.execute(sql, parameters)
    except sqlite3.OperationalError as error:
        if not sqlite.found_no_moment(error):
            raise
    return sqlite.patiently(lambda: connection.execute(sql, parameters))


def _is_outdated(connection: sqlite3.Connection) -> bool:
    # Each SELECT asks: an `isinstance` alone is what it may cost.
    return isinstance(connection, sqlite.FrozenConnection) and connection.is_outdated()


class PostgresRows:
    """Reads without a transaction around them: one round trip each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def fetch(
        self, make: Callable[[Row], T], sql: str, parameters: Sequence[object]
    ) -> list[T]:
        with self._engine.connect() as connection:
            statement = sql.replace("?", "%s")
            found = connection.exec_driver_sql(statement, tuple(parameters))
            return [make(row) for row in found]

    def data_version(self) -> None:
        """It counts nothing that would say so for all its tables."""

    def close(self) -> None:
        """Nothing is held besides the engine."""


def make_engine(
    address: CatalogAddress, *, read_only: bool = False, foreign_keys: bool = True
) -> Engine:
    """An engine for *address*.  Connects at the first use.

    Raises:
        CatalogAddressError: PostgreSQL is asked for and its driver is missing.
    """
    if address.path is None:
        return _postgres_engine(address, read_only=read_only)
    path = address.path
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite.connect(
            path, read_only=read_only, foreign_keys=foreign_keys
        ),
        poolclass=QueuePool,
        max_overflow=-1,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Python's driver would begin late and without the write lock: two
        # transactions that both read first could then not both write.
        write = connection.get_execution_options().get("hubsync_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    @event.listens_for(engine, "checkout")
    def checkout(held: DBAPIConnection, *_: object) -> None:
        if isinstance(held, sqlite.FrozenConnection) and held.is_outdated():
            raise DisconnectionError

    return engine


def _postgres_engine(address: CatalogAddress, *, read_only: bool) -> Engine:
    query = address.url.query
    connect_args: dict[str, object] = {}
    if "connect_timeout" not in query:
        connect_args["connect_timeout"] = 10
    if "application_name" not in query:
        connect_args["application_name"] = "hubsync"
    try:
        engine = create_engine(
            address.url, connect_args=connect_args, pool_pre_ping=True
        )
    except ImportError as error:
        raise CatalogAddressError(
            "a catalog in PostgreSQL needs the psycopg driver, which is not installed",
            hint="pip install 'hubsync[postgres]'",
        ) from error

    if read_only:

        @event.listens_for(engine, "connect")
        def connected(held: Any, _: object) -> None:
            held.read_only = True

    return engine
