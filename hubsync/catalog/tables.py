"""The tables.  `migrations/` makes them; a test keeps both the same.

Trees are kept as **spans**: one row says that a repo's *path* was *blob* from
commit number ``from_seq`` up to, not including, ``to_seq``.  A file that does
not change costs one row however many commits are recorded.  ``seq`` is our own
order of recording, so a span means the same whatever history upstream shows.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from hubsync.catalog.columns import ID, NAME, FreeText, JsonText, UtcDateTime

CURRENT = 2**31 - 1
"""``to_seq`` of a span that no recorded commit has ended."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Numbers of repos and commits are never given out twice (SQLite would, after a
# delete): a server may still hold the row of one that was forgotten.
repos = Table(
    "repos",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("upstream", NAME, nullable=False),
    Column("repo_type", NAME, nullable=False),
    Column("name", NAME, nullable=False),
    Column("name_folded", NAME, nullable=False),
    Column("hub_id", FreeText),
    Column("card", JsonText, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("last_synced_at", UtcDateTime, nullable=False),
    UniqueConstraint("upstream", "repo_type", "name"),
    UniqueConstraint("upstream", "repo_type", "hub_id"),
    Index(None, "name_folded"),
    sqlite_autoincrement=True,
)

repo_aliases = Table(
    "repo_aliases",
    METADATA,
    Column("repo_id", ForeignKey("repos.id"), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("name_folded", NAME, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Index(None, "name_folded"),
)

commits = Table(
    "commits",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("repo_id", ForeignKey("repos.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("oid", NAME, nullable=False),
    Column("title", FreeText, nullable=False),
    Column("message", FreeText, nullable=False),
    Column("authors", JsonText, nullable=False),
    Column("committed_at", UtcDateTime),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("files", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    UniqueConstraint("repo_id", "oid"),
    UniqueConstraint("repo_id", "seq"),
    sqlite_autoincrement=True,
)

refs = Table(
    "refs",
    METADATA,
    Column("repo_id", ForeignKey("repos.id"), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("commit_id", ForeignKey("commits.id"), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index(None, "commit_id"),
)

# Commits are named by text here: the log outlives the commits it speaks of.
ref_log = Table(
    "ref_log",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("repo_id", ForeignKey("repos.id"), nullable=False),
    Column("name", NAME, nullable=False),
    Column("old_oid", NAME),
    Column("new_oid", NAME, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "repo_id"),
)

# key: "sha256:<hex>" for an LFS file, "git:<oid>" for a plain one, whose sha256
# no hub tells: it is NULL until the bytes are held.  damaged_at: since when bytes
# that were held are not; NULL as soon as they are again.
blobs = Table(
    "blobs",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("key", NAME, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", NAME),
    Column("held", Boolean, nullable=False),
    Column("recorded_at", UtcDateTime, nullable=False),
    Column("damaged_at", UtcDateTime),
    UniqueConstraint("key"),
    CheckConstraint("NOT held OR sha256 IS NOT NULL", name="held_has_digest"),
    Index(None, "sha256"),
)

# xet_hash: what the repo's hub calls the content of an LFS file, if it said so.  By
# repo and not by blob: no other hub's word counts for what this one's clients ask.
_HAS_XET_HASH = text("xet_hash IS NOT NULL")
file_spans = Table(
    "file_spans",
    METADATA,
    Column("repo_id", ForeignKey("repos.id"), primary_key=True),
    Column("path", NAME, primary_key=True),
    Column("from_seq", Integer, primary_key=True, autoincrement=False),
    Column("to_seq", Integer, nullable=False),
    Column("blob_id", ForeignKey("blobs.id"), nullable=False),
    Column("pointer_oid", Text),
    Column("xet_hash", Text),
    Index(None, "blob_id"),
    Index(
        None,
        "repo_id",
        "xet_hash",
        sqlite_where=_HAS_XET_HASH,
        postgresql_where=_HAS_XET_HASH,
    ),
    sqlite_with_rowid=False,
)

# What a running command is about to need; `hubsync.catalog.leases` says how.
# Numbers are drawn at random and never come again, also not after a restore: a
# command that was taken for dead must not find its lease to be somebody else's.
leases = Table(
    "leases",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("purpose", FreeText, nullable=False),
    Column("owner", JsonText, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("observed_beat", BigInteger),
    Column("observed_boot", Text),
    Column("observed_monotonic_s", Float),
    Column("opened_at", UtcDateTime, nullable=False),
)

# key: as in blobs.  By key first: gc asks "who claims this?" for every blob, and
# a lease goes once.
lease_claims = Table(
    "lease_claims",
    METADATA,
    Column("key", NAME, primary_key=True),
    Column("lease_id", ForeignKey("leases.id"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Who may read from `hubsync serve`.  lookup: the beginning of sha256, by which a
# token is found; the rest is compared without telling how far it agrees.
tokens = Table(
    "tokens",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("lookup", NAME, nullable=False),
    Column("sha256", NAME, nullable=False),
    Column("repos", JsonText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("rate_bytes_per_s", BigInteger),
    Column("requests_per_minute", Integer),
    UniqueConstraint("name"),
    Index(None, "lookup"),
    sqlite_autoincrement=True,
)

# What a mirror did: one row a carrying out.  lease_id: of the process that is at
# it, NULL once it has ended; no foreign key, for whoever dies loses the lease and
# the row has to tell of it.
runs = Table(
    "runs",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("mirror", NAME, nullable=False),
    Column("trigger", NAME, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("state", NAME, nullable=False),
    Column("lease_id", BigInteger),
    Column("repos_selected", Integer, nullable=False),
    Column("repos_checked", Integer, nullable=False),
    Column("repos_changed", Integer, nullable=False),
    Column("repos_failed", Integer, nullable=False),
    Column("files_fetched", Integer, nullable=False),
    Column("bytes_fetched", BigInteger, nullable=False),
    Column("bytes_reused", BigInteger, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("waited_s", Float, nullable=False),
    Column("error", FreeText),
    Index(None, "mirror", "id"),
    sqlite_autoincrement=True,
)

# What a run met, unless it was as before: most repos are, every night.
run_repos = Table(
    "run_repos",
    METADATA,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("upstream", NAME, primary_key=True),
    Column("repo_type", NAME, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("revision", NAME, primary_key=True),
    Column("outcome", NAME, nullable=False),
    Column("commit_oid", NAME),
    Column("files_fetched", Integer, nullable=False),
    Column("bytes_fetched", BigInteger, nullable=False),
    Column("bytes_reused", BigInteger, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("error", FreeText),
    Column("exit_code", Integer),
    sqlite_with_rowid=False,
)

# What each mirror has brought in: a repo whose commit and selection are still these
# is held as it should be, and none of its files is looked at.  Named as upstream and
# configuration do, not by the repo's number: that may be under another name here.
mirror_repos = Table(
    "mirror_repos",
    METADATA,
    Column("mirror", NAME, primary_key=True),
    Column("upstream", NAME, primary_key=True),
    Column("repo_type", NAME, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("revision", NAME, primary_key=True),
    Column("hub_id", FreeText),
    Column("commit_oid", NAME, nullable=False),
    Column("selection", NAME, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Index(None, "upstream", "repo_type", "name"),
    sqlite_with_rowid=False,
)
