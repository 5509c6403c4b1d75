"""How Alembic reaches the catalog.

`hubsync db upgrade` passes its open connection, which holds the lock.  For the
developer's own commands, name the catalog:
``alembic -x url=sqlite:///catalog.db revision --autogenerate --rev-id 0002 -m what``

Two things that batch mode (SQLite makes the table anew) forgets unless told, and
the drift test finds: ``batch_alter_table("repos", table_kwargs={
"sqlite_autoincrement": True})``, the same for commits, and for file_spans
``table_kwargs={"sqlite_with_rowid": False}``.
"""

from alembic import context
from sqlalchemy import Connection

from hubsync.catalog.address import CatalogAddress
from hubsync.catalog.schema import VERSION_TABLE, upgrading
from hubsync.catalog.tables import METADATA


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        version_table=VERSION_TABLE,
        # SQLite's transactions do cover CREATE and DROP.
        transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):
    run(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url or context.is_offline_mode():
        message = "name the catalog: alembic -x url=sqlite:///catalog.db …"
        raise SystemExit(message)
    with upgrading(CatalogAddress.parse(url)) as opened:
        run(opened)
