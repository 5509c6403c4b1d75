"""Add blobs.damaged_at.

Why: verify found a file damaged and marked it as not held; the next verify then
knew nothing of it, and it looked like one that was never asked for.
Safe under the previous release: it ignores the column, which is nullable, and a
blob that it fetches again keeps a mark that nobody reads while the blob is held.
Takes: no time; no row is touched.
Back: downgrading drops the column; pull damaged files again before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("blobs", sa.Column("damaged_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("blobs", "damaged_at")
