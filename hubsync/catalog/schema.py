"""Which schema a catalog has, and bringing it to ours."""

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.errors import CatalogLostError, SchemaError, explain
from hubsync.catalog.session import make_engine
from hubsync.catalog.tables import METADATA

VERSION_TABLE = "alembic_version"
_SCRIPT = re.compile(r"(\d{4})_\w+\.py")

# Any number that no one else is likely to use on the same server.
_UPGRADE_LOCK = 0x68_75_62_73_79_6E_63


def migrations_dir() -> Path:
    """The migrations: inside an installed package, at the root of a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def head() -> str:
    """The schema that this hubsync knows, e.g. ``0003``.

    Read from the file names: importing Alembic takes longer than most commands.
    """
    names = (path.name for path in (migrations_dir() / "versions").iterdir())
    return max(found[1] for name in names if (found := _SCRIPT.fullmatch(name)))


def current(url: str) -> str | None:
    """The schema of the catalog at *url*; None when it has no tables.

    Raises:
        CatalogAddressError, CatalogUnavailableError: it cannot be opened;
        SchemaError: it holds tables that are not ours.
    """
    address = CatalogAddress.parse(url)
    if address.path is not None and not address.path.exists():
        return None
    with _connected(make_engine(address, read_only=True), address) as connection:
        return read_version(connection, str(address))


def check(url: str) -> None:
    """Raise unless the catalog at *url* has exactly the schema this hubsync knows.

    Raises:
        SchemaError: saying which side has to be upgraded.
    """
    require_head(current(url), str(CatalogAddress.parse(url)))


def require_head(version: str | None, where: str) -> None:
    """Raise unless *version* is `head`.

    Raises:
        SchemaError: saying which side has to be upgraded.
    """
    known = head()
    if version == known:
        return
    if version is None or (version.isdigit() and version < known):
        raise SchemaError(
            f"the catalog {where} has schema {version or 'none'}, "
            f"this hubsync needs {known}",
            hint="Back it up, stop other hubsync processes, "
            "then run `hubsync db upgrade`.",
        )
    raise SchemaError(
        f"the catalog {where} has schema {version[:40]}, newer than {known}, "
        "which is the newest this hubsync knows",
        hint="Upgrade hubsync; an older one could damage the catalog.",
    )


def refuse_lost(url: str, is_used: Callable[[], bool]) -> None:
    """Raise if there are no tables at *url*, and there were some once.

    *is_used*: whether the store has what only a catalog can have recorded.

    Raises:
        CatalogLostError: an empty one would have gc delete everything.
    """
    # Looked at again: another process may have made the catalog and have begun
    # to fill the store in between.
    if current(url) is None and is_used() and current(url) is None:
        raise CatalogLostError(str(CatalogAddress.parse(url)))


def read_version(connection: Connection, where: str) -> str | None:
    """As `current`, over an open connection."""
    # All at once: another process may be making them, and two looks would see
    # the half before and the half after.
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE not in tables:
        if tables & {"repos", "blobs"}:
            raise SchemaError(
                f"the database {where} has tables, but none that hubsync made",
                hint="Give hubsync a database of its own.",
            )
        return None
    statement = text(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    versions = connection.execute(statement).scalars().all()
    return str(versions[0]) if versions else None


def upgrade(url: str, *, stepwise: bool = False) -> tuple[str | None, str]:
    """Bring the catalog at *url* to `head`; returns the schema before and after.

    An empty database gets its tables as they are today, which a test holds to be
    what the migrations come to; with *stepwise* it goes through them all.

    Several processes may do this at once: one works, the others wait and find
    nothing left to do.  All or nothing: a failure leaves the schema as it was.

    Raises:
        SchemaError: the catalog is newer than this hubsync.
    """
    address = CatalogAddress.parse(url)
    with upgrading(address) as connection:
        before = read_version(connection, str(address))
        if before is not None and before > head():
            require_head(before, str(address))
        # One that was taken back to its beginnings has a version table, empty.
        is_new = before is None and not inspect(connection).has_table(VERSION_TABLE)
        if is_new and not stepwise:
            _make_tables(connection)
        elif before != head():
            _run_migrations(connection)
        return before, head()


@contextlib.contextmanager
def upgrading(address: CatalogAddress) -> Iterator[Connection]:
    """The one transaction in which the schema may change, and nobody else's.

    SQLite changes a table by making it anew.  With foreign keys on, dropping
    the old table would delete or refuse the rows that point to it, and the
    switch is ignored inside a transaction: hence an engine without them, and a
    check before the end.
    """
    engine = make_engine(address, foreign_keys=False)
    engine.update_execution_options(hubsync_write=True)
    with _connected(engine, address) as connection:
        if address.path is None:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            connection.execute(text("SET LOCAL lock_timeout = '30s'"))
            connection.execute(text("SET LOCAL statement_timeout = '1h'"))
        yield connection
        if address.path is not None:
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise SchemaError(
                    f"the catalog {address} has {len(broken)} rows that point "
                    f"nowhere, the first in {broken[0][0]}; nothing was changed",
                    hint="Restore a backup, or report this with the output.",
                )
        connection.commit()


@contextlib.contextmanager
def _connected(engine: Engine, address: CatalogAddress) -> Iterator[Connection]:
    try:
        with engine.connect() as connection:
            yield connection
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise explain(error, str(address)) from error
    finally:
        engine.dispose()


def _make_tables(connection: Connection) -> None:
    METADATA.create_all(connection)
    # As Alembic makes it: the next upgrade reads it.
    connection.execute(
        text(
            f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL, "
            f"CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
        )
    )
    insert = text(f"INSERT INTO {VERSION_TABLE} VALUES (:head)")  # noqa: S608 - a constant
    connection.execute(insert, {"head": head()})


def _run_migrations(connection: Connection) -> None:
    # Alembic takes as long to import as the rest of a command to run.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    location = str(migrations_dir()).replace("%", "%%")
    config.set_main_option("script_location", location)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
