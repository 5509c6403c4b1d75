"""Making a commit visible: its record first, then rows and refs, then the repo's.

The records are what the catalog can be made from again.  A commit's own record
comes before its rows: whoever dies in between leaves a record that says nothing
wrong.  Where refs point is written after they have moved, from what the catalog
says then; nothing is acknowledged before.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.leases import Lease
from hubsync.catalog.rows import Publication, Published, RepoRow, record_of
from hubsync.model.record import RevisionRecord
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
            if brought_in or not self.records.holds(record.repo, record.commit.oid):
                self.records.write_revision(self._revision(record))
            published = self.catalog.publish(record, lease)
            write_repo(self.catalog, self.records, published.repo)
        return published

    def _revision(self, record: Publication) -> RevisionRecord:
        row = self.catalog.find_repo(record.repo)
        hub_id = record.info.hub_id if record.info else None
        recorded_at = record.at
        if row is not None:
            hub_id = hub_id or row.hub_id
            known = self.catalog.resolve(row, record.commit.oid)
            if known is not None and known.commit.oid == record.commit.oid:
                recorded_at = known.recorded_at
        assert recorded_at is not None, "publish has set it"
        return RevisionRecord(
            repo=record.repo,
            hub_id=hub_id,
            commit=record.commit,
            recorded_at=recorded_at,
            entries=self._held(record.entries),
        )

    def _held(self, entries: Sequence[TreeEntry]) -> list[HeldEntry]:
        plain = [entry.git_oid for entry in entries if not entry.lfs]
        held = self.catalog.held_by_git_oid(plain)
        found = []
        for entry in entries:
            blob = None if entry.lfs else held.get(entry.git_oid)
            digest = entry.lfs or (blob.digest if blob else None)
            found.append(HeldEntry(entry, digest))
        return found


def write_repo(catalog: Catalog, records: Records, row: RepoRow) -> None:
    """Write down what the catalog says of the repo now, if that has changed."""
    records.write_repo(record_of(row, catalog.refs(row)))
