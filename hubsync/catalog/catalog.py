"""The catalog: one object with all that the rest of hubsync asks of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from hubsync.catalog import (
    blobs,
    leases,
    mirrored,
    newness,
    refs,
    repos,
    schema,
    snapshots,
    tokens,
    trees,
)
from hubsync.catalog.address import CatalogAddress, sqlite_url
from hubsync.catalog.leases import Lease, LeaseRow, Watch
from hubsync.catalog.restore import Repo, Restored, restore
from hubsync.catalog.rows import (
    DamagedRow,
    Forgotten,
    Publication,
    Published,
    RefMove,
    RefRow,
    RepoRow,
    SnapshotRow,
    SnapshotStateRow,
    TotalsRow,
)
from hubsync.catalog.runs import Runs
from hubsync.catalog.session import Session
from hubsync.catalog.tokens import TokenGrant, TokenRow
from hubsync.model.digest import Digest, GitOid
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import Commit, HeldEntry
from hubsync.ports.blobs import HeldBlob

__all__ = [
    "Catalog",
    "Forgotten",
    "Publication",
    "Published",
    "RefMove",
    "RefRow",
    "RepoRow",
    "SnapshotRow",
    "SnapshotStateRow",
    "sqlite_url",
]


class Catalog:
    """What is recorded.  Blocks; may be used by any number of threads at once.

    Each method that writes is one transaction: it happened whole, and survives
    a power cut, once the method returns; or it raised and nothing changed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.runs = Runs(session)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        read_only: bool = False,
        is_used: Callable[[], bool] = lambda: False,
    ) -> Self:
        """Open the catalog at *url*, making its tables if it has none.

        Args:
            url: ``sqlite:////folder/catalog.db`` (`sqlite_url` writes one) or
                ``postgresql://user@host/database``.
            read_only: change nothing, and need no permission to; the catalog
                must be there.
            is_used: whether the store is one that must have had a catalog; asked
                only where there is none.

        Raises:
            CatalogLostError: it is gone, or empty, and *is_used*.
            SchemaError: its schema is older or newer than this hubsync's.
            CatalogAddressError, CatalogUnavailableError: it cannot be opened.
        """
        address = CatalogAddress.parse(url)
        if address.path is not None and _is_nothing(address.path):
            schema.refuse_lost(url, is_used)  # before SQLite makes the file
        session = Session(address, read_only=read_only)
        try:
            with session.reading() as connection:
                version = schema.read_version(connection, str(address))
            if version is None:
                schema.refuse_lost(url, is_used)
            if version is None and not read_only:
                schema.upgrade(url)
            else:
                schema.require_head(version, str(address))
        except BaseException:
            session.close()
            raise
        return cls(session)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_sqlite(self) -> bool:
        """Whether a look-up takes microseconds, so that it needs no thread."""
        return self._session.address.path is not None

    def ping(self) -> None:
        """Raise unless the database answers."""
        self._session.rows("SELECT 1")

    def data_version(self) -> object:
        """Equal to an earlier one if nothing has changed since; None: unknown.

        Cheaper than a look-up (4 µs), and exact: what was read after one call is
        still true if a later call returns the same.  PostgreSQL cannot say.
        """
        return self._session.data_version()

    def is_new(self) -> bool:
        """Whether nothing has ever been recorded in it: not, that all was forgotten."""
        with self._session.reading() as connection:
            return newness.is_new(connection)

    # Writing

    def open_lease(self, purpose: str) -> Lease:
        """Begin to need blobs; *purpose* is for people.  Beat, and close it."""
        now = _now()

        def work(tx: Connection) -> Lease:
            newness.note_use(tx)
            return leases.open_lease(tx, purpose, now)

        return self._session.write(work)

    def claim(self, lease: Lease, names: Iterable[Digest | GitOid]) -> None:
        """Have gc leave the blobs of these *names* alone, held or not.

        Claim first, look what is held after: what gc has dropped by then is not
        held, and what is held then stays.

        Raises:
            LeaseLostError: a gc took us for dead.
        """
        keys = list(names)
        self._session.write(lambda tx: leases.claim(tx, lease, keys))

    def beat(self, lease: Lease) -> bool:
        """Give a sign of life; False when the lease is gone."""
        return self._session.write(lambda tx: leases.beat(tx, lease))

    def close_lease(self, lease: Lease) -> None:
        """Need nothing any more.  Harmless when the lease is gone."""
        if any(row.id == lease.id for row in self.leases()):
            self._session.write(lambda tx: leases.drop(tx, [lease.id]))

    def record_blobs(
        self, held: Sequence[HeldBlob], lease: Lease | None = None
    ) -> None:
        """Write down blobs that are durable in the store already.

        Raises:
            LeaseLostError: a gc took the holder of *lease* for dead.
        """
        if not held:
            return
        now = _now()

        def record(tx: Connection) -> None:
            leases.keep_gc_out(tx)
            leases.require(tx, lease)
            blobs.record_held(tx, held, now)

        self._session.write(record)

    def publish(self, record: Publication, lease: Lease | None = None) -> Published:
        """Make a commit visible: repo, tree and commit, then the refs to it.

        Publishing a recorded commit again changes no tree; it may move refs.
        *lease* ends with it.

        Raises:
            LeaseLostError: a gc took the holder of *lease* for dead.
            NotWholeError: a file that must be held is not.
            IdentityChangedError: the name belongs to another repo now.
            IntegrityError: the commit is recorded with another tree, or a size
                is not the one of the bytes we hold.
        """
        now = record.at or _now()
        return self._session.write(lambda tx: snapshots.publish(tx, record, now, lease))

    def restore(
        self,
        repo: Repo,
        batch: Sequence[Restored],
        refs: Mapping[RefName, str],
    ) -> None:
        """Record again what was recorded once: commits in order, then *refs*.

        The repo must have none of the commits; each ref's is one of them, or of
        those that it has.
        """
        now = _now()
        self._session.write(lambda tx: restore(tx, repo, batch, refs, now))

    def touch(self, repo: RepoId) -> None:
        """The repo was asked for just now, and nothing had changed."""
        row, now = self.find_repo(repo), _now()
        if row is not None:
            self._session.write(lambda tx: repos.touch(tx, row.id, now))

    def forget(self, repo: RepoRow, snapshot: SnapshotRow | None) -> Forgotten:
        """Take out *snapshot* with the refs to it; None: the whole repo.

        No blob leaves the store: `unneeded_blobs` names those that may.  A mirror
        that has it configured brings it in again.
        """
        return self._session.write(lambda tx: snapshots.forget(tx, repo, snapshot))

    def drop_dead_leases(self, watch: Watch | None = None) -> int:
        """End the leases whose holders cannot be waited for; how many."""
        if not self.leases():
            return 0  # without writing
        now = watch or Watch()
        return self._session.write(lambda tx: leases.drop_dead(tx, now))

    def drop_unneeded(
        self, digests: Sequence[Digest], older_than: datetime | None = None
    ) -> list[Digest]:
        """Write down that blobs leave the store, before they do; which ones.

        Those that somebody has begun to need meanwhile stay.
        """
        return self._session.write(
            lambda tx: blobs.drop_unneeded(tx, digests, older_than)
        )

    def while_deciding(
        self, digests: Sequence[Digest], act: Callable[[AbstractSet[Digest]], None]
    ) -> None:
        """Call *act* with those of *digests* that are needed, and hold that still.

        Until *act* returns nobody begins to need another.  It may be called
        again, if the database says so, and then with another answer.
        """

        def decide(tx: Connection) -> None:
            leases.keep_all_out(tx)
            act(blobs.needed(tx, digests))

        self._session.write(decide)

    def mark_lost(
        self, digest: Digest, is_there: Callable[[], bool] = lambda: False
    ) -> bool:
        """Write down that a blob is damaged or gone: it is to be fetched again.

        Unless *is_there* says so: then somebody has brought it in again, which
        is asked while nobody can record it.  Whether it was written down.

        Ask `referrers` before: a plain file's digest is unknown afterwards.
        `damaged` names its files until the blob is recorded as held again.  No
        mirror is taken to hold what needs it: the next run brings it in.
        """
        now = _now()

        def mark(tx: Connection) -> bool:
            leases.keep_all_out(tx)
            if is_there():
                return False
            mirrored.drop_needing(tx, digest)  # before a plain file's digest goes
            return blobs.mark_lost(tx, digest, now)

        return self._session.write(mark)

    def add_token(self, name: str, sha256: str, grant: TokenGrant) -> None:
        """Let whoever has the token with this digest read.

        Raises:
            TokenExistsError: there is one of that name.
        """
        now = _now()
        self._session.write(lambda tx: tokens.add(tx, name, sha256, grant, now))

    def revoke_token(self, name: str) -> bool:
        """Forget a token; whether there was one of that name."""
        return self._session.write(lambda tx: tokens.revoke(tx, name))

    # Reading

    def tokens(self) -> Sequence[TokenRow]:
        """All that were handed out and not revoked, by name."""
        return tokens.list_tokens(self._session)

    def find_token(self, sha256: str) -> TokenRow | None:
        """Whose token has this digest; it may have expired."""
        return tokens.find(self._session, sha256)

    def get_token(self, number: int) -> TokenRow | None:
        """By its number; it may have expired."""
        return tokens.get(self._session, number)

    def repos(self, *, pattern: str | None = None) -> list[RepoRow]:
        """All repos, or those whose name matches a shell pattern in any case.

        The pattern is held against ``upstream:datasets/org/name``, the same
        without upstream, and ``org/name``.
        """
        return repos.list_repos(self._session, pattern)

    def totals(self) -> TotalsRow:
        """How much there is; reads every blob's row."""
        with self._session.reading() as connection:
            count, size = blobs.held_totals(connection)
            return TotalsRow(repos.count(connection), count, size)

    def find_repo(self, repo: RepoId) -> RepoRow | None:
        """By its name, or one it had before."""
        return repos.find_repo(self._session, repo)

    def find_by_name(
        self, repo_type: RepoType, name: str, *, any_case: bool = False
    ) -> list[RepoRow]:
        """At most one repo of each upstream; exact and current names first."""
        return repos.find_by_name(self._session, repo_type, name, any_case=any_case)

    def resolve(self, repo: RepoRow, revision: str) -> SnapshotRow | None:
        """A full commit, a ref (full or short name), ``HEAD``, a short commit."""
        return snapshots.resolve(self._session, repo, revision)

    def heads(self) -> dict[int, SnapshotRow]:
        """As `resolve` of ``HEAD``, of all repos at once: by the repo's number."""
        return snapshots.heads(self._session)

    def snapshots(self, repo: RepoRow) -> list[SnapshotRow]:
        """Newest recorded first."""
        return snapshots.snapshots(self._session, repo)

    def commit_names(self) -> list[tuple[str, RepoType, str]]:
        """``(upstream, type, commit)`` of every recorded commit, in no order."""
        return snapshots.names(self._session)

    def commit_order(self, repo: RepoRow) -> list[str]:
        """The repo's commits as they were recorded, oldest first."""
        return snapshots.oids(self._session, repo)

    def refs(self, repo: RepoRow) -> list[RefRow]:
        """By name."""
        return refs.list_refs(self._session, repo)

    def ref_log(self, repo: RepoRow) -> list[RefMove]:
        """Where each ref pointed before, newest move first."""
        return refs.list_moves(self._session, repo)

    def entries(self, snapshot: SnapshotRow) -> list[HeldEntry]:
        """Every file, by path; none if the snapshot was forgotten meanwhile."""
        return trees.entries(self._session, snapshot)

    def entry(self, snapshot: SnapshotRow, path: str) -> HeldEntry | None:
        """One file: an indexed look-up."""
        return trees.entry(self._session, snapshot, path)

    def having(self, snapshot: SnapshotRow, name: str) -> list[HeldEntry]:
        """LFS files by *name*: their sha256, or the hub's Xet hash.

        An indexed look-up; in no order.
        """
        return trees.having(self._session, snapshot, name)

    def changes(self, snapshot: SnapshotRow) -> dict[str, Commit]:
        """Since which commit each file of *snapshot* is what it is, as far as known.

        That is since the first recorded one in a row that has it so, without its
        message and authors; never one that is later than the snapshot's own.
        """
        return trees.changes(self._session, snapshot)

    def state(self, snapshot: SnapshotRow) -> SnapshotStateRow:
        """How much of the snapshot is held now."""
        return trees.state(self._session, snapshot)

    def held(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Those of *digests* that the store holds, and how long they are."""
        return blobs.held(self._session, digests)

    def held_between(self, first: Digest, last: Digest) -> set[Digest]:
        """What the store holds from *first* to *last*: for many in a row."""
        return blobs.held_between(self._session, first, last)

    def held_by_git_oid(self, oids: Iterable[GitOid]) -> dict[GitOid, HeldBlob]:
        """The held ones among plain blobs."""
        return blobs.held_by_git_oid(self._session, oids)

    def all_held(self) -> Iterator[HeldBlob]:
        """Every held blob once, by digest."""
        return blobs.all_held(self._session)

    def leases(self) -> list[LeaseRow]:
        """Who needs blobs besides the recorded trees; oldest first."""
        with self._session.reading() as connection:
            return [leases.to_row(row) for row in leases.list_leases(connection)]

    def dead_leases(self, watch: Watch | None = None) -> list[int]:
        """Those that `drop_dead_leases` would end."""
        with self._session.reading() as connection:
            return leases.dead_ids(connection, watch or Watch())

    def unneeded_blobs(
        self, older_than: datetime | None = None, dead: Sequence[int] = ()
    ) -> Iterator[HeldBlob]:
        """Held blobs that no recorded tree and no lease needs, by digest.

        *older_than*: only what was recorded before.  *dead*: leases that do not
        count.
        """
        return blobs.unneeded(self._session, older_than, dead)

    def needed(
        self, digests: Iterable[Digest], dead: Sequence[int] = ()
    ) -> set[Digest]:
        """Those of *digests* whose bytes must stay: held, in a tree, or claimed."""
        with self._session.reading() as connection:
            return blobs.needed(connection, digests, dead)

    def referrers(self, digest: Digest) -> list[tuple[RepoRow, SnapshotRow, str]]:
        """Which repo, commit and path need the blob."""
        with self._session.reading() as connection:
            found = blobs.referrers(connection, digest)
            return _places(connection, found)

    def damaged(self) -> list[DamagedRow]:
        """Blobs of recorded trees that were held and are not, by name."""
        with self._session.reading() as connection:
            found = blobs.damaged(connection)
            places = _places(connection, [(one.commit_id, one.path) for one in found])
        rows: dict[str, DamagedRow] = {}
        for one, place in zip(found, places, strict=True):
            row = rows.get(one.key)
            files = (*row.files, place) if row else (place,)
            rows[one.key] = DamagedRow(one.key, one.size_bytes, one.since, files)
        return list(rows.values())


def _places(
    connection: Connection, found: Sequence[tuple[int, str]]
) -> list[tuple[RepoRow, SnapshotRow, str]]:
    """Repo and commit of each ``(commit id, path)``."""
    commits = snapshots.get_snapshots(connection, (row for row, _ in found))
    ids = {commit.repo_id for commit in commits.values()}
    owners = {repo_id: repos.get_repo(connection, repo_id) for repo_id in ids}
    return [(owners[commits[row].repo_id], commits[row], path) for row, path in found]


def _is_nothing(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return True  # whoever opens it says what is wrong


def _now() -> datetime:
    return datetime.now(UTC)
