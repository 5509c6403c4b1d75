"""Telling a catalog that is new from one in which all was forgotten."""

from sqlalchemy import Connection, select, text

from hubsync.catalog.tables import blobs, commits, leases

# Both databases remember the last number that they gave to a commit.
_NUMBERED = {
    "sqlite": "SELECT 1 FROM sqlite_sequence WHERE name = 'commits' AND seq > 0",
    "postgresql": "SELECT 1 FROM pg_sequences WHERE schemaname = current_schema() "
    "AND sequencename = 'commits_id_seq' AND last_value IS NOT NULL",
}


_NUMBER_ONE = {
    "sqlite": "INSERT INTO sqlite_sequence (name, seq) SELECT 'commits', 1 "
    "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'commits')",
    "postgresql": "SELECT nextval('commits_id_seq')",
}


def note_use(connection: Connection) -> None:
    """Remember for good that somebody is about to bring something in.

    Whatever becomes of it: a pull that failed leaves blobs which gc may delete.
    """
    if not _was_numbered(connection):
        connection.execute(text(_NUMBER_ONE[connection.dialect.name]))


def is_new(connection: Connection) -> bool:
    """Whether no commit was ever recorded, and none was ever about to be."""
    for table in (commits, blobs, leases):
        if connection.execute(select(table.c.id).limit(1)).first():
            return False
    return not _was_numbered(connection)


def _was_numbered(connection: Connection) -> bool:
    asked = text(_NUMBERED[connection.dialect.name])
    return connection.execute(asked).first() is not None
