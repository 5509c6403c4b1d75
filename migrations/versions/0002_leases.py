"""Add leases and lease_claims.

Why: gc runs beside pulls.  A pull writes down which blobs it is about to need,
and gc leaves those alone.
Safe under the previous release: both tables are new and point to nothing it has;
its gc keeps pulls away with a lock instead.
Takes: no time; nothing is read or copied.
Back: downgrading drops both tables.  No command may be running then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("observed_beat", sa.BigInteger()),
        sa.Column("observed_boot", sa.Text()),
        sa.Column("observed_monotonic_s", sa.Float()),
        sa.Column("opened_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
    )
    op.create_table(
        "lease_claims",
        sa.Column("key", NAME, nullable=False),
        sa.Column("lease_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "lease_id", name="pk_lease_claims"),
        sa.ForeignKeyConstraint(
            ["lease_id"], ["leases.id"], name="fk_lease_claims_lease_id_leases"
        ),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("lease_claims")
    op.drop_table("leases")
