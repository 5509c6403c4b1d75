"""Telling a catalog that is new from one in which all was forgotten."""

from sqlalchemy import Connection, select, text

from hubsync.catalog.tables import blobs, commits, leases

# Both databases remember the last number that they gave to a commit.
_NUMBERED = {
    "sqlite": "SELECT 1 FROM sqlite_sequence WHERE name = 'commits' AND seq > 0",
    "postgresql": "SELECT 1 FROM pg_sequences WHERE schemaname = current_schema() "
    "AND sequencename = 'commits_id_seq' AND last_value IS NOT NULL",
}


def is_new(connection: Connection) -> bool:
    """Whether no commit was ever recorded, and none is about to be."""
    for table in (commits, blobs, leases):
        if connection.execute(select(table.c.id).limit(1)).first():
            return False
    return not connection.execute(text(_NUMBERED[connection.dialect.name])).first()
