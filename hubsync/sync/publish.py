"""Making a commit visible: its record first, then rows and refs, then the repo's.

The records are what the catalog can be made from again.  A commit's own record
comes before its rows: whoever dies in between leaves a record that says nothing
wrong.  Where refs point is written after they have moved, from what the catalog
says then; nothing is acknowledged before.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.leases import Lease
from hubsync.catalog.recording import write_repo
from hubsync.catalog.rows import Publication, Published, RepoRow, SnapshotRow
from hubsync.model.batches import batched
from hubsync.model.errors import HubsyncError
from hubsync.model.record import RecordDamagedError, RecordFolder, RevisionRecord
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.ports.records import Records


@dataclass(frozen=True, slots=True)
class Publisher:
    """Publishes into the catalog and the store's records.

    *lock_views* gives the views' lock, shared: a `forget` beside us takes a commit
    out of the catalog and the records as one, and must not come in between.
    """

    catalog: Catalog
    records: Records
    lock_views: Callable[[], AbstractContextManager[None]] = nullcontext

    def publish(
        self, record: Publication, lease: Lease | None = None, *, brought_in: bool
    ) -> Published:
        """As `Catalog.publish`; *brought_in*: bytes may be held that were not.

        An unchanged commit whose record is there costs no write here.
        """
        record = replace(record, at=record.at or datetime.now(UTC))
        with self.lock_views():
            recorded = self.records.holds(record.repo, record.commit.oid)
            if brought_in or not recorded or self._says_more(record):
                self._write_revision(record)
            try:
                published = self.catalog.publish(record, lease)
            except HubsyncError:
                if not recorded:
                    self._withdraw(record)
                raise
            if not self.records.holds(record.repo, record.commit.oid):
                # Another pull of it failed meanwhile, and withdrew the record.
                self._write_revision(record)
            write_repo(self.catalog, self.records, published.repo)
        return published

    def _write_revision(self, record: Publication) -> None:
        row, known = self._find(record)
        if row is not None and known is not None:
            # As it is recorded: what the hub says of it now may be a lie.
            revision = recorded_revision(self.catalog, row, known)
            if known.commit.committed_at is None:
                revision = replace(revision, commit=record.commit)
            self.records.write_revision(revision)
            return
        assert record.at is not None, "publish has set it"
        hub_id = record.info.hub_id if record.info else None
        self.records.write_revision(
            RevisionRecord(
                repo=record.repo,
                hub_id=hub_id or (row.hub_id if row else None),
                commit=record.commit,
                recorded_at=record.at,
                entries=_HeldTree(self.catalog, record.entries),
            ),
            former=_former(record, row),
        )

    def _says_more(self, record: Publication) -> bool:
        """A commit first met by its bare id gets its title and time later."""
        known = self._find(record)[1]
        return bool(
            known and not known.commit.committed_at and record.commit.committed_at
        )

    def _withdraw(self, record: Publication) -> None:
        """Hide the record again, unless somebody else has published it.

        Whoever publishes it just now finds it missing, or is found in the catalog
        by us.  One of us may be killed before: it stays hidden, until a gc that
        is alone looks who was right.
        """
        repo, oids = record.repo, [record.commit.oid]
        with suppress(HubsyncError):  # a catalog that cannot be asked: it stays
            if self._find(record)[1] is not None:
                return
            self.records.hide(repo, oids)
            is_unpublished = False
            try:
                is_unpublished = self._find(record)[1] is None
            finally:
                if not is_unpublished:
                    self.records.unhide(repo, oids)

    def _find(self, record: Publication) -> tuple[RepoRow | None, SnapshotRow | None]:
        row = self.catalog.find_repo(record.repo)
        if row is None:
            return None, None
        found = self.catalog.resolve(row, record.commit.oid)
        is_it = found is not None and found.commit.oid == record.commit.oid
        return row, found if is_it else None


class _HeldTree(Collection[HeldEntry]):
    """A tree by path, each file with what is held of it: looked up as it is read.

    As a list, that of a repo with very many files would take as much memory as all
    that a pull keeps of them.
    """

    def __init__(self, catalog: Catalog, entries: Sequence[TreeEntry]) -> None:
        self._catalog = catalog
        self._entries = sorted(entries, key=lambda entry: entry.path)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, one: object) -> bool:
        return any(one == held for held in self)

    def __iter__(self) -> Iterator[HeldEntry]:
        for some in batched(self._entries):
            yield from self._look_up(some)

    def _look_up(self, some: Sequence[TreeEntry]) -> list[HeldEntry]:
        plain = [entry.git_oid for entry in some if not entry.lfs]
        held = self._catalog.held_by_git_oid(plain)
        found = []
        for entry in some:
            blob = None if entry.lfs else held.get(entry.git_oid)
            digest = entry.lfs or (blob.digest if blob else None)
            found.append(HeldEntry(entry, digest))
        return found


def _former(record: Publication, row: RepoRow | None) -> str | None:
    """The name under which the repo has been recorded, if it is another."""
    name = row.repo.name if row else record.alias
    return None if name == record.repo.name else name


def recorded_revision(
    catalog: Catalog, row: RepoRow, snapshot: SnapshotRow
) -> RevisionRecord:
    """The record of a commit that the catalog has."""
    return RevisionRecord(
        repo=row.repo,
        hub_id=row.hub_id,
        commit=snapshot.commit,
        recorded_at=snapshot.recorded_at,
        entries=[
            replace(one, digest=one.digest or one.entry.lfs)
            for one in sorted(catalog.entries(snapshot), key=lambda one: one.entry.path)
        ],
    )


def unrecorded(
    catalog: Catalog, records: Records
) -> Iterator[tuple[RepoRow, SnapshotRow]]:
    """Commits of the catalog without a record of their own that can be read.

    A hubsync that kept no records yet has recorded them; or one was deleted, or
    went bad while the catalog still knows what it said.
    """
    for row in catalog.repos():
        recorded: set[str] = set()
        for repo in row.names:
            if folder := records.folder_of(repo):
                recorded.update(_readable(records, folder))
        for snapshot in catalog.snapshots(row):
            if snapshot.commit.oid not in recorded:
                yield row, snapshot


def _readable(records: Records, folder: RecordFolder) -> Iterator[str]:
    for oid in folder.commits:
        with suppress(RecordDamagedError):
            records.read_revision(folder, oid)
            yield oid


def write_missing(catalog: Catalog, records: Records) -> int:
    """Give every commit of the catalog a record, and every repo; how many commits.

    Hold the views' lock, so that nobody forgets one meanwhile.
    """
    count = 0
    for row, snapshot in unrecorded(catalog, records):
        records.write_revision(recorded_revision(catalog, row, snapshot))
        count += 1
    for row in catalog.repos():
        write_repo(catalog, records, row)
    return count
