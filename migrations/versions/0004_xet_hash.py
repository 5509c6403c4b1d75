"""Add file_spans.xet_hash.

Why: a client whose cache was filled by the hub asks for a file by the hash that
the hub had told it, and no longer by its path.
Safe under the previous release: it ignores the column, which is nullable.
Takes: no time; no row is touched. Files pulled before have no such hash, until
another commit of their repo is pulled.
Back: downgrading drops the column; records in the store keep what was in it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_INDEX = "ix_file_spans_repo_id_xet_hash"
_GIVEN = sa.text("xet_hash IS NOT NULL")


def upgrade() -> None:
    op.add_column("file_spans", sa.Column("xet_hash", sa.Text()))
    op.create_index(
        _INDEX,
        "file_spans",
        ["repo_id", "xet_hash"],
        sqlite_where=_GIVEN,
        postgresql_where=_GIVEN,
    )


def downgrade() -> None:
    op.drop_index(_INDEX, "file_spans")
    op.drop_column("file_spans", "xet_hash")
