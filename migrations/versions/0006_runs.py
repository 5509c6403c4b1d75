"""Add runs, and what each mirror has brought in.

Why: mirrors are carried out in runs. A run is one row, with one more for each repo
that was not as before; and a repo that a mirror holds as it should be costs no look
at its files.
Safe under the previous release: the tables are new and point to nothing it has.
What it forgets or finds damaged stays in `mirror_repos`; it knows no mirrors.
Takes: no time; nothing is read or copied.
Back: downgrading drops the tables. The next run looks at every repo's files again,
and fetches nothing that is held.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("mirror", NAME, nullable=False),
        sa.Column("trigger", NAME, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.Column("state", NAME, nullable=False),
        sa.Column("lease_id", sa.BigInteger()),
        sa.Column("repos_selected", sa.Integer(), nullable=False),
        sa.Column("repos_checked", sa.Integer(), nullable=False),
        sa.Column("repos_changed", sa.Integer(), nullable=False),
        sa.Column("repos_failed", sa.Integer(), nullable=False),
        sa.Column("files_fetched", sa.Integer(), nullable=False),
        sa.Column("bytes_fetched", sa.BigInteger(), nullable=False),
        sa.Column("bytes_reused", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("waited_s", sa.Float(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_runs_mirror_id", "runs", ["mirror", "id"])
    op.create_table(
        "run_repos",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("upstream", NAME, nullable=False),
        sa.Column("repo_type", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("revision", NAME, nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("commit_oid", NAME),
        sa.Column("files_fetched", sa.Integer(), nullable=False),
        sa.Column("bytes_fetched", sa.BigInteger(), nullable=False),
        sa.Column("bytes_reused", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("exit_code", sa.Integer()),
        sa.PrimaryKeyConstraint(
            "run_id", "upstream", "repo_type", "name", "revision", name="pk_run_repos"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_run_repos_run_id_runs"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mirror_repos",
        sa.Column("mirror", NAME, nullable=False),
        sa.Column("upstream", NAME, nullable=False),
        sa.Column("repo_type", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("revision", NAME, nullable=False),
        sa.Column("hub_id", sa.Text()),
        sa.Column("commit_oid", NAME, nullable=False),
        sa.Column("selection", NAME, nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.PrimaryKeyConstraint(
            "mirror",
            "upstream",
            "repo_type",
            "name",
            "revision",
            name="pk_mirror_repos",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_mirror_repos_upstream_repo_type_name",
        "mirror_repos",
        ["upstream", "repo_type", "name"],
    )


def downgrade() -> None:
    op.drop_table("mirror_repos")
    op.drop_table("run_repos")
    op.drop_table("runs")
