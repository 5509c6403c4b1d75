"""Add tokens.

Why: `hubsync serve` can ask who reads.  A token says which repos its holder may
read, until when, and how fast; of the token itself only its sha256 is kept.
Safe under the previous release: the table is new and points to nothing it has; it
goes on answering everybody.
Takes: no time; nothing is read or copied.
Back: downgrading drops the table, and every token with it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("lookup", NAME, nullable=False),
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("repos", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("rate_bytes_per_s", sa.BigInteger()),
        sa.Column("requests_per_minute", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("name", name="uq_tokens_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tokens_lookup", "tokens", ["lookup"])


def downgrade() -> None:
    op.drop_table("tokens")
