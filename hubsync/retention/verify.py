"""Reading held blobs again and comparing them with their names."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.ports.blobs import BlobNotFoundError, BlobStore, HeldBlob
from hubsync.ports.view import View
from hubsync.retention.relay import lay_out_again

BLOCK_BYTES = 2**20
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what its name says, and the files it stood for."""

    blob: HeldBlob
    what: str  # "missing", or what was found instead
    files: tuple[tuple[RepoRow, SnapshotRow, str], ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How much was read, and what of it was not right."""

    blobs: int
    bytes: int
    damaged: tuple[Damage, ...]


def held_by(catalog: Catalog, snapshots: Iterable[SnapshotRow]) -> list[HeldBlob]:
    """Every blob that is held for *snapshots*, once."""
    found: dict[str, HeldBlob] = {}
    for snapshot in snapshots:
        for one in catalog.entries(snapshot):
            if one.digest is not None:
                git_oid = None if one.entry.is_lfs else one.entry.git_oid
                found[one.digest.hex] = HeldBlob(
                    one.digest, one.entry.size_bytes, git_oid
                )
    return list(found.values())


def verify(
    catalog: Catalog,
    blobs: BlobStore,
    views: Sequence[View],
    wanted: Iterable[HeldBlob],
    progress: Callable[[HeldBlob], None],
    *,
    lock_views: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> VerifyReport:
    """Re-hash *wanted*; what is wrong is taken out of everybody's sight.

    A damaged blob goes to quarantine, its rows are no longer "held", and the
    views lose the file: an absent file is a clear error, wrong bytes are not.
    *lock_views* gives the views' lock, alone.
    """
    count, size = 0, 0
    damaged: list[Damage] = []
    for blob in wanted:
        what = _inspect(blobs, blob)
        if what == MISSING:
            what = _look_again(catalog, blobs, blob)
        if what is not None:
            with lock_views():
                damaged.append(_put_aside(catalog, blobs, views, blob, what))
        count += 1
        size += blob.size_bytes
        progress(blob)
    return VerifyReport(count, size, tuple(damaged))


def _inspect(blobs: BlobStore, blob: HeldBlob) -> str | None:
    sha256 = hashlib.sha256()
    size = 0
    try:
        with blobs.open(blob.digest) as file:
            while block := file.read(BLOCK_BYTES):
                sha256.update(block)
                size += len(block)
    except BlobNotFoundError:
        return MISSING
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if size != blob.size_bytes:
        return f"{size} bytes long instead of {blob.size_bytes}"
    if sha256.hexdigest() != blob.digest.hex:
        return f"sha256:{sha256.hexdigest()}"
    return None


def _look_again(catalog: Catalog, blobs: BlobStore, blob: HeldBlob) -> str | None:
    """A blob that a gc beside us has dropped is no damage: its row goes first."""
    if blob.digest not in catalog.held([blob.digest]):
        return None
    # Fetched again since, perhaps; then it is there.
    return _inspect(blobs, blob)


def _put_aside(
    catalog: Catalog,
    blobs: BlobStore,
    views: Sequence[View],
    blob: HeldBlob,
    what: str,
) -> Damage:
    files = tuple(catalog.referrers(blob.digest))
    places = {(row.id, snap.id): (row, snap) for row, snap, _ in files}.values()
    # Out of sight first, the row last: whoever is killed in between finds the
    # damage again, because the catalog still says "held".  The links in views go
    # too: they share the damaged file's bytes.
    for row, snapshot in places:
        for view in views:
            for repo in row.names:
                view.remove(repo, snapshot.commit.oid)
    if what != MISSING:
        blobs.quarantine(blob.digest)
    catalog.mark_lost(blob.digest)
    for row, snapshot in places:
        lay_out_again(catalog, views, row, snapshot)
    return Damage(blob, what, files)
