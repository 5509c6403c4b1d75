"""Making the catalog again from what the store keeps itself.

Records say which commits there are, what is in them and where refs point; the
store says which bytes are held.  What only the catalog knew is lost: the log of
where refs pointed before, and when an unchanged repo was asked for last.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.recording import write_repo
from hubsync.catalog.restore import Repo, Restored
from hubsync.catalog.rows import RepoRow
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import HubsyncError
from hubsync.model.record import (
    RecordDamagedError,
    RecordGoneError,
    RepoRecord,
    RevisionRecord,
)
from hubsync.model.revision import RefName
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobStore, HeldBlob
from hubsync.ports.records import Records
from hubsync.sync.owners import Owned, Where, owners
from hubsync.sync.strays import identify, is_what_it_says

BATCH_FILES = 20_000  # in one transaction
BATCH_COMMITS = 200


@dataclass(slots=True)
class RebuildReport:
    """What was found and written down."""

    repos: int = 0
    commits: int = 0
    refs: int = 0
    blobs: int = 0
    bytes: int = 0
    hashed: int = 0  # blobs read because no record knew what they are
    problems: list[str] = field(default_factory=list)


def rebuild(
    catalog: Catalog,
    blobs: BlobStore,
    records: Records,
    *,
    only_unknown: bool = False,
    note: Callable[[str], None],
) -> RebuildReport:
    """Write everything that *records* know into *catalog*; have the store alone.

    With *only_unknown* what it has already stays as it is: of refs, those move
    that are to point to something it did not have.  A record that cannot be read
    is named in the report and left out.
    """
    work = _Rebuild(catalog, blobs, records, RebuildReport(), note)
    found = owners(records, work.report.problems)
    for owned in found:
        work.restore_repo(owned, only_unknown=only_unknown)
    work.find_unnamed()
    for owned in found:
        row = catalog.find_repo(owned.repo.repo)
        if row is not None:
            write_repo(catalog, records, row)
    return work.report


@dataclass(slots=True)
class _Rebuild:
    """One run."""

    catalog: Catalog
    blobs: BlobStore
    records: Records
    report: RebuildReport
    note: Callable[[str], None]
    seen: set[str] = field(default_factory=set)  # blobs looked for, by any name
    held: set[str] = field(default_factory=set)  # hex of those that are there
    unnamed: dict[GitOid, int] = field(default_factory=dict)  # plain, to be found

    def restore_repo(self, owned: Owned, *, only_unknown: bool) -> None:
        repo = owned.repo
        row = self._find(repo) if only_unknown else None
        known = set(self.catalog.commit_order(row)) if row else set()
        there = {one.name for one in self.catalog.refs(row)} if row else set()
        new = {oid: at for oid, at in owned.commits.items() if oid not in known}
        # Those to a commit move with it: who is interrupted there goes on right.
        refs = {
            name: oid
            for name, oid in repo.refs.items()
            if oid in new or (oid in known and name not in there)
        }
        former = row.repo.name if row and row.repo != repo.repo else None
        if row and not (new or refs or former):
            return
        done: set[str] = set()
        for batch in self._batches(new):
            done |= self._restore(Repo(repo, former), batch, refs)
        late = {name: oid for name, oid in refs.items() if oid in known}
        self.catalog.restore(Repo(repo, former), (), late)
        self._name_lost(repo, done | known)
        self.report.repos += 1
        self.report.commits += len(done)
        self.report.refs += sum(oid in done | known for oid in refs.values())

    def _find(self, repo: RepoRecord) -> RepoRow | None:
        """The repo under the name that an old catalog knows it by."""
        for name in (repo.repo.name, *repo.aliases):
            row = self.catalog.find_repo(replace(repo.repo, name=name))
            if row and (
                row.repo == repo.repo
                or None in (row.hub_id, repo.hub_id)
                or row.hub_id == repo.hub_id
            ):
                return row
        return None

    def _name_lost(self, repo: RepoRecord, there: Container[str]) -> None:
        for name, oid in repo.refs.items():
            if oid not in there:
                self.report.problems.append(
                    f"{repo.repo}: {name} points to {oid[:10]}, which has no record"
                )

    def _batches(self, commits: Mapping[str, Where]) -> Iterator[list[Restored]]:
        batch: list[Restored] = []
        files = 0
        for oid, where in commits.items():
            try:
                revision = where.revision or self.records.read_revision(
                    where.folder, oid
                )
            except HubsyncError as error:
                self.report.problems.append(str(error))
                continue
            batch.append(self._look(revision))
            files += len(revision.entries)
            if files >= BATCH_FILES or len(batch) >= BATCH_COMMITS:
                yield batch
                batch, files = [], 0
        if batch:
            yield batch

    def _restore(
        self, repo: Repo, batch: Sequence[Restored], refs: Mapping[RefName, str]
    ) -> set[str]:
        """The commits of *batch* that were recorded, with those of *refs* to them."""
        oids = {one.revision.commit.oid for one in batch}
        mine = {name: oid for name, oid in refs.items() if oid in oids}
        try:
            self.catalog.restore(repo, batch, mine)
        except HubsyncError as error:
            if len(batch) == 1:
                (oid,) = oids
                name = repo.record.repo
                self.report.problems.append(f"{name}@{oid[:10]}: {error}")
                return set()
            done: set[str] = set()
            for one in batch:
                done |= self._restore(repo, [one], refs)
            return done
        return oids

    def _look(self, revision: RevisionRecord) -> Restored:
        """Which blobs of *revision* the store has, of those not looked for yet."""
        found: list[HeldBlob] = []
        entries = list(revision.entries)
        for index, one in enumerate(entries):
            entry, digest = one.entry, one.digest
            name = digest.hex if entry.lfs and digest else entry.git_oid.hex
            if name in self.seen:
                continue
            if digest is None:
                self.unnamed[entry.git_oid] = entry.size_bytes
                continue
            self.seen.add(name)
            if self.blobs.has(digest, entry.size_bytes):
                git_oid = None if entry.lfs else entry.git_oid
                found.append(self._holds(digest, entry.size_bytes, git_oid))
            elif self.blobs.has(digest):
                size_bytes = self._true_size(one)
                if size_bytes is not None:
                    entry = replace(entry, size_bytes=size_bytes)
                    entries[index] = HeldEntry(entry, digest)
                    found.append(self._holds(digest, size_bytes, None))
            elif not entry.lfs:
                self.unnamed[entry.git_oid] = entry.size_bytes
        return Restored(replace(revision, entries=entries), found)

    def _holds(
        self, digest: Digest, size_bytes: int, git_oid: GitOid | None
    ) -> HeldBlob:
        if digest.hex not in self.held:
            self.held.add(digest.hex)
            self.report.blobs += 1
            self.report.bytes += size_bytes
        return HeldBlob(digest, size_bytes, git_oid)

    def _true_size(self, one: HeldEntry) -> int | None:
        """How long the blob is when the listing was wrong; None: it is damaged."""
        assert one.digest is not None, "it was looked for"
        size_bytes = is_what_it_says(self.blobs, one.digest)
        if size_bytes is None or not one.entry.lfs:
            self.report.problems.append(
                f"{one.digest} is not {one.entry.size_bytes} bytes long, as "
                f"{one.entry.path} should be: pull it again"
            )
            return None
        return size_bytes

    def find_unnamed(self) -> None:
        """Plain files that came in after the records of their commits were written."""
        wanted = {oid: n for oid, n in self.unnamed.items() if oid.hex not in self.seen}
        if not wanted:
            return
        unknown = (one for one in self.blobs.digests() if one.hex not in self.held)
        found = []
        for digest in unknown:
            blob, was_read = identify(self.blobs, digest, wanted)
            self.report.hashed += was_read
            if blob is not None:
                found.append(self._holds(digest, blob.size_bytes, blob.git_oid))
        self.catalog.record_blobs(found)


def needed_by_records(
    catalog: Catalog, records: Records, blobs: BlobStore
) -> frozenset[Digest]:
    """Blobs that records name which the catalog knows nothing of.

    It may be an old catalog, put back.

    Raises:
        RecordDamagedError: such a record cannot be read.
    """
    found: set[Digest] = set()
    unnamed: dict[GitOid, int] = {}
    for revision in unknown_to(catalog, records):
        for one in revision.entries:
            if one.digest is not None:
                found.add(one.digest)
            else:
                unnamed[one.entry.git_oid] = one.entry.size_bytes
    for oid in catalog.held_by_git_oid(unnamed):
        del unnamed[oid]
    if unnamed:
        for digest in blobs.digests():
            if digest not in found and identify(blobs, digest, unnamed)[0]:
                found.add(digest)
    return frozenset(found)


def unknown_to(catalog: Catalog, records: Records) -> Iterator[RevisionRecord]:
    """Records of commits that the catalog does not have.

    Raises:
        RecordDamagedError: one of them cannot be read.
    """
    known = set(catalog.commit_names())
    for folder in records.folders():
        repo = folder.repo
        for oid in folder.commits:
            if isinstance(repo, RepoRecord):
                kind = (repo.repo.upstream, repo.repo.repo_type)
                if (*kind, oid) in known:
                    continue
            try:
                revision = records.read_revision(folder, oid)
            except RecordGoneError:
                # A publish beside us failed and withdrew it, or moved it with a
                # renamed repo, which the catalog then knows.
                continue
            kind = (revision.repo.upstream, revision.repo.repo_type)
            if (*kind, oid) not in known:
                yield revision


def settle_forgotten(
    catalog: Catalog,
    records: Records,
    lock_views: Callable[[], AbstractContextManager[None]],
) -> None:
    """Finish what a `forget` that was killed half-way left hidden, or a publish.

    *lock_views* gives the views' lock, alone: what is hidden now may be published
    in this moment.
    """
    if any(folder.hidden for folder in records.folders()):
        with lock_views():
            _settle_hidden(catalog, records)


def _settle_hidden(catalog: Catalog, records: Records) -> None:
    for folder in [one for one in records.folders() if one.hidden]:
        repo = folder.repo
        if isinstance(repo, RecordDamagedError):
            continue  # whose they are has to be known first
        row = catalog.find_repo(repo.repo)
        snapshots = [] if row is None else catalog.snapshots(row)
        known = {one.commit.oid for one in snapshots}
        records.unhide(repo.repo, [oid for oid in folder.hidden if oid in known])
        gone = [oid for oid in folder.hidden if oid not in known]
        records.drop_hidden(repo.repo, gone)
