"""Making the catalog again from what the store keeps itself.

Records say which commits there are, what is in them and where refs point; the
store says which bytes are held.  What only the catalog knew is lost: the log of
where refs pointed before.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from hubsync.catalog.bulk import chunks
from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import Publication
from hubsync.model.digest import Digest, GitOid, git_header
from hubsync.model.errors import HubsyncError
from hubsync.model.record import RecordDamagedError, RepoRecord, RevisionRecord
from hubsync.model.repo import RepoId, RepoType
from hubsync.model.revision import RefName
from hubsync.model.snapshot import HeldEntry, RepoInfo
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobStore, HeldBlob
from hubsync.ports.records import Records

RECORD_ROWS = 10_000  # blobs written down in one transaction


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
    """Write everything that *records* know into *catalog*.

    With *only_unknown* what it has already stays as it is, refs included.
    A record that cannot be read is named in the report and left out.
    """
    work = _Rebuild(catalog, blobs, RebuildReport(), note)
    known = frozenset(catalog.commit_names() if only_unknown else ())
    repos, revisions = _read_all(records, known, work.report.problems)
    work.record_held(revisions)
    for owner, its in _by_owner(repos, revisions).items():
        work.publish_repo(owner, its, keep_refs=only_unknown)
    return work.report


def needed_by_records(catalog: Catalog, records: Records) -> frozenset[Digest]:
    """Digests that records of commits name which the catalog does not have."""
    known = set(catalog.commit_names())
    found: set[Digest] = set()
    for repo, oid in records.commits():
        if (repo.upstream, repo.repo_type, oid) not in known:
            record = records.read_revision(repo, oid)
            found.update(one.digest for one in record.entries if one.digest)
    return frozenset(found)


def settle_forgotten(catalog: Catalog, records: Records) -> None:
    """Finish what a `forget` that was killed half-way left hidden."""
    known = set(catalog.commit_names())
    for repo, oid in list(records.hidden()):
        if (repo.upstream, repo.repo_type, oid) in known:
            records.unhide(repo, [oid])
        else:
            records.drop_hidden(repo, [oid])


def _read_all(
    records: Records, known: AbstractSet[tuple[str, RepoType, str]], problems: list[str]
) -> tuple[list[RepoRecord], list[RevisionRecord]]:
    revisions = []
    for repo, oid in records.commits():
        if (repo.upstream, repo.repo_type, oid) in known:
            continue
        try:
            revisions.append(records.read_revision(repo, oid))
        except (RecordDamagedError, HubsyncError) as error:
            problems.append(str(error))
    return list(records.repos()), revisions


def _by_owner(
    repos: Iterable[RepoRecord], revisions: Iterable[RevisionRecord]
) -> dict[RepoId, tuple[RepoRecord, list[RevisionRecord]]]:
    """Whose each revision is: by the hub's id, which survives a rename."""
    by_id: dict[tuple[object, ...], RepoRecord] = {}
    by_name: dict[RepoId, RepoRecord] = {}
    for repo in repos:
        kind = (repo.repo.upstream, repo.repo.repo_type)
        by_name[repo.repo] = repo
        if repo.hub_id is not None:
            # The record under the present name has the former ones as aliases.
            other = by_id.get((*kind, repo.hub_id))
            if other is None or other.repo.name in repo.aliases:
                by_id[(*kind, repo.hub_id)] = repo
    found: dict[RepoId, tuple[RepoRecord, list[RevisionRecord]]] = {}
    for one in revisions:
        kind = (one.repo.upstream, one.repo.repo_type)
        owner = by_id.get((*kind, one.hub_id)) or by_name[one.repo]
        found.setdefault(owner.repo, (owner, []))[1].append(one)
    return found


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """One run."""

    catalog: Catalog
    blobs: BlobStore
    report: RebuildReport
    note: Callable[[str], None]

    def record_held(self, revisions: Iterable[RevisionRecord]) -> None:
        """Write down which blobs of *revisions* the store has."""
        entries = {}
        for revision in revisions:
            for one in revision.entries:
                entries[one.entry.lfs or one.entry.git_oid] = one
        held = {blob.digest: blob for blob in self._named(entries.values())}
        there = set(self.blobs.digests())
        unknown = there - held.keys()
        wanted = {
            one.entry.git_oid
            for one in entries.values()
            if not one.entry.lfs and (not one.digest or one.digest not in there)
        }
        if wanted and unknown:
            self.note(f"reading {len(unknown)} blobs that no record knows")
            for digest in sorted(unknown):
                if blob := self._identify(digest, wanted):
                    held[digest] = blob
        for batch in chunks(held.values(), RECORD_ROWS):
            self.catalog.record_blobs(batch)
        self.report.blobs = len(held)
        self.report.bytes = sum(blob.size_bytes for blob in held.values())

    def _named(self, entries: Iterable[HeldEntry]) -> Iterable[HeldBlob]:
        for one in entries:
            size, digest = one.entry.size_bytes, one.digest
            if digest is None or not self.blobs.has(digest):
                continue
            if not self.blobs.has(digest, size):
                self.report.problems.append(
                    f"{digest} is not {size} bytes long, as {one.entry.path} should be"
                )
                continue
            yield HeldBlob(digest, size, None if one.entry.lfs else one.entry.git_oid)

    def _identify(self, digest: Digest, wanted: set[GitOid]) -> HeldBlob | None:
        """*digest* as the plain file it is, if it is one of *wanted*."""
        self.report.hashed += 1
        with self.blobs.open(digest) as file:
            size = file.seek(0, 2)
            file.seek(0)
            sha1 = hashlib.sha1(git_header(size))  # noqa: S324 - git's choice
            while block := file.read(MIB):
                sha1.update(block)
        oid = GitOid(sha1.hexdigest())
        return HeldBlob(digest, size, oid) if oid in wanted else None

    def publish_repo(
        self,
        owner: RepoId,
        its: tuple[RepoRecord, list[RevisionRecord]],
        *,
        keep_refs: bool,
    ) -> None:
        record, revisions = its
        revisions.sort(key=lambda one: (one.recorded_at, one.commit.oid))
        recorded = {one.commit.oid for one in revisions}
        refs: Mapping[RefName, str] = record.refs
        if keep_refs and (row := self.catalog.find_repo(owner)):
            there = {ref.name for ref in self.catalog.refs(row)}
            refs = {name: oid for name, oid in refs.items() if name not in there}
        for one in revisions:
            mine = [name for name, oid in refs.items() if oid == one.commit.oid]
            self._publish(record, one, mine)
            self.report.commits += 1
            self.report.refs += len(mine)
        for name, oid in refs.items():
            if oid not in recorded and not keep_refs:
                self.report.problems.append(
                    f"{owner}: {name.full} points to {oid[:10]}, which has no record"
                )
        self.report.repos += 1

    def _publish(
        self, record: RepoRecord, one: RevisionRecord, refs: list[RefName]
    ) -> None:
        info = RepoInfo(record.repo, record.hub_id, record.card)
        for alias in (None, *record.aliases):
            self.catalog.publish(
                Publication(
                    repo=record.repo,
                    info=info,
                    commit=one.commit,
                    entries=[held.entry for held in one.entries],
                    refs=refs,
                    alias=alias,
                    accept_new_identity=True,
                    at=one.recorded_at,
                )
            )
