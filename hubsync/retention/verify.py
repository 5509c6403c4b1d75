"""Reading held blobs again and comparing them with their names."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from hubsync.catalog.catalog import Catalog
from hubsync.catalog.rows import RepoRow, SnapshotRow
from hubsync.ports.blobs import BlobNotFoundError, BlobStore, HeldBlob
from hubsync.ports.view import View
from hubsync.retention.rehash import MISSING, Hashed, inspect, inspected
from hubsync.retention.relay import lay_out_again


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what its name says, and the files it stood for.

    *name* is its digest; of a plain file that was found damaged before, whose
    digest is unknown by now, it is ``git:<oid>``.
    """

    name: str
    what: str  # "missing", or what was found instead, or since when
    files: tuple[tuple[RepoRow, SnapshotRow, str], ...]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """How much was read, and what is not right: found now, or before and not mended."""

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
    hashed: Hashed = lambda _blob, _size_bytes: None,
    lock_views: Callable[[], AbstractContextManager[None]] = nullcontext,
    read_only: bool = False,
) -> VerifyReport:
    """Re-hash *wanted*; what is wrong is taken out of everybody's sight.

    A damaged blob goes to quarantine, its rows are no longer "held", and the
    views lose the file: an absent file is a clear error, wrong bytes are not.
    *progress* is told of each blob that was read, *hashed* of pieces of large ones
    before.  *lock_views* gives the views' lock, alone.  With *read_only* what is
    wrong is told, and left where it is.
    """
    count, size = 0, 0
    damaged: list[Damage] = []
    for blob, found in inspected(blobs, wanted, hashed):
        if found is not None:
            damage = _deal_with(
                catalog, blobs, views, blob, lock_views, read_only=read_only
            )
            damaged += [damage] if damage else []
        count += 1
        size += blob.size_bytes
        progress(blob)
    damaged.sort(key=lambda one: one.name)  # they are found in no order
    return VerifyReport(count, size, tuple(damaged))


def damaged_before(
    catalog: Catalog,
    snapshots: Iterable[SnapshotRow] | None,
    now: Iterable[Damage] = (),
) -> list[Damage]:
    """What was found damaged earlier than *now*, and was not held again since.

    Of *snapshots*, or (None) of all.
    """
    told = {(snap.id, path) for one in now for _, snap, path in one.files}
    ids = None if snapshots is None else {one.id for one in snapshots}
    return [
        Damage(row.name, f"damaged since {row.since:%Y-%m-%d %H:%M} UTC", row.files)
        for row in catalog.damaged()
        if (ids is None or any(snap.id in ids for _, snap, _ in row.files))
        and not all((snap.id, path) in told for _, snap, path in row.files)
    ]


def _deal_with(
    catalog: Catalog,
    blobs: BlobStore,
    views: Sequence[View],
    blob: HeldBlob,
    lock_views: Callable[[], AbstractContextManager[None]],
    *,
    read_only: bool,
) -> Damage | None:
    """Put aside what is still damaged now: it was read some time ago.

    A pull beside us may have fetched it again since.
    """
    while True:
        # A blob that a gc beside us has dropped is no damage: its row goes first.
        if blob.digest not in catalog.held([blob.digest]):
            return None
        seen = _which(blobs, blob)
        what = inspect(blobs, blob)
        if what is None:
            return None
        if read_only:
            return _damage(catalog, blob, what)
        with lock_views():
            if _which(blobs, blob) == seen:  # not another one since
                return _put_aside(catalog, blobs, views, blob, what)


def _which(blobs: BlobStore, blob: HeldBlob) -> tuple[int, int] | None:
    """Which file it is now; None: there is none, or it cannot be opened."""
    try:
        with blobs.open(blob.digest) as file:
            there = os.fstat(file.fileno())
    except (BlobNotFoundError, OSError):
        return None
    return there.st_ino, there.st_mtime_ns


def _put_aside(
    catalog: Catalog,
    blobs: BlobStore,
    views: Sequence[View],
    blob: HeldBlob,
    what: str,
) -> Damage | None:
    """Take it out of sight; None: it is not held any more, or is there again."""
    damage = _damage(catalog, blob, what)
    places = {(row.id, snap.id): (row, snap) for row, snap, _ in damage.files}.values()
    # Out of sight first, the row last: whoever is killed in between finds the
    # damage again, because the catalog still says "held".  The links in views go
    # too: they share the damaged file's bytes.
    for row, snapshot in places:
        for view in views:
            for repo in row.names:
                view.remove(repo, snapshot.commit.oid)
    if what != MISSING:
        blobs.quarantine(blob.digest)
    is_lost = catalog.mark_lost(
        blob.digest, lambda: blobs.has(blob.digest, blob.size_bytes)
    )
    for row, snapshot in places:
        lay_out_again(catalog, views, row, snapshot, blobs)
    return damage if is_lost or what != MISSING else None


def _damage(catalog: Catalog, blob: HeldBlob, what: str) -> Damage:
    return Damage(str(blob.digest), what, tuple(catalog.referrers(blob.digest)))
