"""Make the catalog's tables (the first schema).

Why: an empty database becomes a catalog.
Safe under the previous release: there is none.
Takes: no time; nothing is read or copied.
Back: downgrading drops every table, and with them all that was recorded.  The
blobs stay in the store, but nothing says any more which file they are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out here and not taken from the code: a migration must go on making
# what it made on the day it was released.
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    make_repos()
    make_commits()
    make_refs()
    make_trees()


def make_repos() -> None:
    op.create_table(
        "repos",
        sa.Column("id", ID, nullable=False),
        sa.Column("upstream", NAME, nullable=False),
        sa.Column("repo_type", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("name_folded", NAME, nullable=False),
        sa.Column("hub_id", sa.Text()),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("last_synced_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_repos"),
        sa.UniqueConstraint(
            "upstream", "repo_type", "name", name="uq_repos_upstream_repo_type_name"
        ),
        sa.UniqueConstraint(
            "upstream", "repo_type", "hub_id", name="uq_repos_upstream_repo_type_hub_id"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_repos_name_folded", "repos", ["name_folded"])
    op.create_table(
        "repo_aliases",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("name_folded", NAME, nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("repo_id", "name", name="pk_repo_aliases"),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repos.id"], name="fk_repo_aliases_repo_id_repos"
        ),
    )
    op.create_index("ix_repo_aliases_name_folded", "repo_aliases", ["name_folded"])


def make_commits() -> None:
    op.create_table(
        "commits",
        sa.Column("id", ID, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("oid", NAME, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("authors", sa.Text(), nullable=False),
        sa.Column("committed_at", TIME),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_commits"),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repos.id"], name="fk_commits_repo_id_repos"
        ),
        sa.UniqueConstraint("repo_id", "oid", name="uq_commits_repo_id_oid"),
        sa.UniqueConstraint("repo_id", "seq", name="uq_commits_repo_id_seq"),
        sqlite_autoincrement=True,
    )


def make_refs() -> None:
    op.create_table(
        "refs",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("commit_id", ID, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("repo_id", "name", name="pk_refs"),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repos.id"], name="fk_refs_repo_id_repos"
        ),
        sa.ForeignKeyConstraint(
            ["commit_id"], ["commits.id"], name="fk_refs_commit_id_commits"
        ),
    )
    op.create_index("ix_refs_commit_id", "refs", ["commit_id"])
    op.create_table(
        "ref_log",
        sa.Column("id", ID, nullable=False),
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("old_oid", NAME),
        sa.Column("new_oid", NAME, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ref_log"),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repos.id"], name="fk_ref_log_repo_id_repos"
        ),
    )
    op.create_index("ix_ref_log_repo_id", "ref_log", ["repo_id"])


def make_trees() -> None:
    op.create_table(
        "blobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", NAME),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_blobs"),
        sa.UniqueConstraint("key", name="uq_blobs_key"),
        sa.CheckConstraint(
            "NOT held OR sha256 IS NOT NULL", name=op.f("ck_blobs_held_has_digest")
        ),
    )
    op.create_index("ix_blobs_sha256", "blobs", ["sha256"])
    op.create_table(
        "file_spans",
        sa.Column("repo_id", ID, nullable=False),
        sa.Column("path", NAME, nullable=False),
        sa.Column("from_seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("to_seq", sa.Integer(), nullable=False),
        sa.Column("blob_id", ID, nullable=False),
        sa.Column("pointer_oid", sa.Text()),
        sa.PrimaryKeyConstraint("repo_id", "path", "from_seq", name="pk_file_spans"),
        sa.ForeignKeyConstraint(
            ["repo_id"], ["repos.id"], name="fk_file_spans_repo_id_repos"
        ),
        sa.ForeignKeyConstraint(
            ["blob_id"], ["blobs.id"], name="fk_file_spans_blob_id_blobs"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_file_spans_blob_id", "file_spans", ["blob_id"])


def downgrade() -> None:
    for table in (
        "file_spans",
        "blobs",
        "ref_log",
        "refs",
        "commits",
        "repo_aliases",
        "repos",
    ):
        op.drop_table(table)
