"""The tables that migrations make are the tables the code speaks of."""

from collections.abc import Callable
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from hubsync.catalog import schema
from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.session import make_engine
from hubsync.catalog.tables import METADATA
from tests.postgres import require_server


def look(url: str, see: Callable[[Connection], Any]) -> Any:
    engine = make_engine(CatalogAddress.parse(url))
    try:
        with engine.connect() as connection:
            return see(connection)
    finally:
        engine.dispose()


def test_alembic_finds_nothing_to_change(empty_url: str) -> None:
    schema.upgrade(empty_url, stepwise=True)

    def compare(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, METADATA))

    assert look(empty_url, compare) == []


def parts(made: str) -> list[str]:
    """Columns and constraints.  ADD COLUMN puts a column behind the constraints."""
    head, _, rest = made.partition("(")
    inside, _, options = rest.rpartition(")")
    found, depth = [head.strip(), options.strip(), ""], 0
    for letter in inside:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return sorted(part.strip() for part in found)


def describe(connection: Connection) -> dict[str, Any]:
    """More than Alembic compares: keys, checks, collations, and table options."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(
            text(
                "SELECT name, sql FROM sqlite_schema "
                "WHERE name NOT LIKE '%alembic%' AND sql IS NOT NULL"
            )
        )
        return {name: parts(made) for name, made in rows}
    inspector = inspect(connection)
    columns = connection.execute(
        text(
            "SELECT table_name, column_name, data_type, is_nullable, column_default, "
            "collation_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name <> 'alembic_version' "
            "ORDER BY 1, 2"
        )
    ).all()
    tables = set(inspector.get_table_names()) - {schema.VERSION_TABLE}
    return {
        "columns": [tuple(column) for column in columns],
        **{
            table: [
                inspector.get_pk_constraint(table),
                *sorted(map(str, inspector.get_foreign_keys(table))),
                *sorted(map(str, inspector.get_unique_constraints(table))),
                *sorted(map(str, inspector.get_check_constraints(table))),
                *sorted(map(str, inspector.get_indexes(table))),
            ]
            for table in tables
        },
    }


def test_a_migrated_database_equals_one_made_from_the_tables(
    empty_url: str, tmp_path_factory: Any
) -> None:
    schema.upgrade(empty_url, stepwise=True)
    migrated = look(empty_url, describe)

    def create(connection: Connection) -> dict[str, Any]:
        METADATA.create_all(connection)
        return describe(connection)

    if empty_url.startswith("sqlite"):
        other = f"sqlite:///{tmp_path_factory.mktemp('made')}/catalog.db"
        made = look(other, create)
    else:
        with require_server().database() as other:
            made = look(other, create)
    assert migrated == made
    assert len(migrated) >= len(METADATA.tables)


def test_an_empty_database_gets_the_version_as_alembic_would_write_it(
    empty_url: str,
) -> None:
    schema.upgrade(empty_url)

    def version(connection: Connection) -> str | None:
        context = MigrationContext.configure(connection)
        return context.get_current_revision()

    assert look(empty_url, version) == schema.head()
    assert schema.upgrade(empty_url) == (schema.head(), schema.head())
