"""Reading held blobs again and comparing them with their names."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobNotFoundError, BlobStore, HeldBlob
from hubsync.ports.view import View
from hubsync.retention.relay import lay_out_again

BATCH_BYTES = 8 * MIB
BATCH_BLOBS = 64
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
    for blob, found in _inspected(blobs, wanted):
        what = found
        if what == MISSING:
            what = _look_again(catalog, blobs, blob)
        if what is not None:
            with lock_views():
                damaged.append(_put_aside(catalog, blobs, views, blob, what))
        count += 1
        size += blob.size_bytes
        progress(blob)
    return VerifyReport(count, size, tuple(damaged))


def _inspected(
    blobs: BlobStore, wanted: Iterable[HeldBlob]
) -> Iterator[tuple[HeldBlob, str | None]]:
    """Each of *wanted* with what is wrong with it, in order, on all cores."""
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads, "verify") as pool:
        ahead: deque[Future[list[tuple[HeldBlob, str | None]]]] = deque()
        for batch in _batches(wanted):
            ahead.append(pool.submit(_inspect_all, blobs, batch))
            if len(ahead) > 2 * threads:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _batches(wanted: Iterable[HeldBlob]) -> Iterator[list[HeldBlob]]:
    """So much for a thread that asking it costs next to nothing."""
    batch: list[HeldBlob] = []
    size = 0
    for blob in wanted:
        batch.append(blob)
        size += blob.size_bytes
        if size >= BATCH_BYTES or len(batch) >= BATCH_BLOBS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _inspect_all(
    blobs: BlobStore, batch: Iterable[HeldBlob]
) -> list[tuple[HeldBlob, str | None]]:
    return [(blob, _inspect(blobs, blob)) for blob in batch]


def _inspect(blobs: BlobStore, blob: HeldBlob) -> str | None:
    try:
        with blobs.open(blob.digest) as file:
            # The port's files are unbuffered: they can read into a buffer.
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            size = file.tell()
    except BlobNotFoundError:
        return MISSING
    except OSError as error:
        return f"unreadable ({error.strerror})"
    if size != blob.size_bytes:
        return f"{size} bytes long instead of {blob.size_bytes}"
    if found != blob.digest.hex:
        return f"sha256:{found}"
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
