"""Whether the catalog could be made again from the records: ``hubsync db check``."""

from dataclasses import dataclass

from hubsync.catalog.catalog import Catalog
from hubsync.model.record import RecordDamagedError, RecordGoneError
from hubsync.model.repo import RepoType
from hubsync.ports.records import Records
from hubsync.sync.publish import unrecorded


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """How catalog and records differ, in revisions."""

    revisions: int  # that the catalog has
    without_record: int  # of them: a rebuild would not bring them back
    unknown: int  # that records have and the catalog lacks: it is an old one
    damaged: tuple[str, ...]  # records that cannot be read, and why


def check_records(catalog: Catalog, records: Records) -> RecordCheck:
    """Read every record and compare with the catalog; changes nothing."""
    known = set(catalog.commit_names())
    unknown: set[tuple[str, RepoType, str]] = set()
    damaged: list[str] = []
    for folder in records.folders():
        if isinstance(folder.repo, RecordDamagedError):
            damaged.append(str(folder.repo))
        for oid in folder.commits:
            try:
                record = records.read_revision(folder, oid)
            except RecordGoneError:
                continue  # withdrawn, forgotten or moved beside us
            except RecordDamagedError as error:
                damaged.append(str(error))
                continue
            name = (record.repo.upstream, record.repo.repo_type, oid)
            if name not in known:
                unknown.add(name)
    # A pull beside us writes the record first and the rows after.
    unknown -= set(catalog.commit_names())
    return RecordCheck(
        revisions=len(known),
        without_record=sum(1 for _ in unrecorded(catalog, records)),
        unknown=len(unknown),
        damaged=tuple(damaged),
    )
