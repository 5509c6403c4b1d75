"""Deleting blobs that nobody needs, beside everybody who brings blobs in.

1. Leases of the dead end (`hubsync.catalog.leases`).
2. What is in the trash is decided again: an earlier gc may have died there.
3. Rows of held blobs that no tree and no lease needs go, batch by batch.
4. Files without such a row go: for a batch at a time, and while nobody can
   begin to need them, the catalog is asked once more, and what is not needed is
   renamed into the trash.  From then on whoever claims such a blob finds that
   it is not there, and fetches it.
5. Only what the catalog has agreed to is deleted from the trash.

Rows before bytes, and a name before its bytes: a crash between any two leaves a
file that the next gc deletes or puts back, never a row without its bytes.
"""

import os
import time
from collections.abc import Callable, Container, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from hubsync.catalog.catalog import Catalog
from hubsync.model.batches import batched
from hubsync.model.digest import Digest
from hubsync.model.errors import UsageError
from hubsync.ports.blobs import BlobNotFoundError, BlobStore, HeldBlob
from hubsync.ports.trash import Trash, Trashed

BATCH = 2000  # blobs decided in one transaction: others wait for it
FIRST_BATCH = 64  # on a full disk there is no room for more, until some are gone
LOOK = 10_000  # files compared with the catalog at a time


class KnowsNothingError(UsageError):
    """The catalog has never had anything, the store has blobs: they belong elsewhere.

    Deleting them would be what it says, and not what anybody wants.
    """

    def __init__(self, blobs: int) -> None:
        super().__init__(
            f"the catalog is new and knows none of the {blobs} blobs in the store: "
            "nothing was deleted",
            hint="Is it the store's own catalog ([catalog] url)? Pull again what you "
            "want to keep, or delete all of them with: hubsync gc --force",
        )


@dataclass(frozen=True, slots=True)
class GcOptions:
    """What gc leaves alone though nobody needs it.  Both are for people."""

    grace_s: float = 0.0  # what came in within this time stays
    trash_kept_s: float = 0.0  # what is taken out waits in the trash so long


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was, or with ``dry_run`` would be, deleted."""

    blobs: int
    bytes: int
    strays: int  # files in the store that the catalog does not know
    adoptable: int  # such files that revision records name: kept
    put_back: int  # files in the trash that turned out to be needed
    running: tuple[str, ...]  # commands that are bringing blobs in just now


def collect(
    catalog: Catalog,
    blobs: BlobStore,
    trash: Trash,
    *,
    dry_run: bool,
    force: bool = False,
    options: GcOptions,
    clean_leftovers: Callable[[], None],
    also_needed: Container[Digest] = frozenset(),
) -> GcReport:
    """Delete every blob that nobody needs; *also_needed* is not for the catalog.

    Raises:
        KnowsNothingError: a new catalog stands for a store that is not new, and
            *force* is off.
    """
    if not force:
        _refuse_new(catalog, blobs, also_needed)
    gc = _Gc(catalog, blobs, trash, options, also_needed)
    if dry_run:
        return gc.foresee()
    catalog.drop_dead_leases()
    gc.settle_trash()
    gc.drop_unneeded()
    gc.drop_strays()
    clean_leftovers()
    return gc.report()


def _refuse_new(
    catalog: Catalog, blobs: BlobStore, also_needed: Container[Digest]
) -> None:
    """Nothing is needed by a catalog that was lost and begun anew, or mixed up."""
    if not catalog.is_new():
        return
    doomed = sum(1 for digest in blobs.digests() if digest not in also_needed)
    if doomed and catalog.is_new():
        raise KnowsNothingError(doomed)


@dataclass(slots=True)
class _Gc:
    """One run."""

    catalog: Catalog
    blobs: BlobStore
    trash: Trash
    options: GcOptions
    also_needed: Container[Digest]
    now_s: float = field(default_factory=time.time)
    dropped: int = 0
    freed_bytes: int = 0
    strays: int = 0
    adoptable: int = 0
    put_back: int = 0
    dead: Sequence[int] = ()

    def report(self) -> GcReport:
        running = [
            f"{row.purpose} ({row.owner})"
            for row in self.catalog.leases()
            if row.id not in self.dead
        ]
        return GcReport(
            self.dropped,
            self.freed_bytes,
            self.strays,
            self.adoptable,
            self.put_back,
            tuple(running),
        )

    def foresee(self) -> GcReport:
        """The same, without changing anything."""
        self.dead = self.catalog.dead_leases()
        for item in self.trash.items():
            if self._is_needed(item) and not self.blobs.has(item.digest):
                self.put_back += 1
        for blob in self._unneeded():
            self.dropped += 1
            self.freed_bytes += blob.size_bytes
        for _, size_bytes in self._strays():
            self.strays += 1
            self.freed_bytes += size_bytes
        return self.report()

    def _is_needed(self, item: Trashed) -> bool:
        return item.digest in self.also_needed or bool(
            self.catalog.needed([item.digest], self.dead)
        )

    def settle_trash(self) -> None:
        """Put back what is needed after all, delete what has waited long enough."""
        for batch in batched(self.trash.items(), BATCH):
            self.put_back += _settle(
                self.catalog,
                self.trash,
                batch,
                self.also_needed,
                self.now_s - self.options.trash_kept_s,
            )

    def drop_unneeded(self) -> None:
        """Rows first, then their files."""
        older_than = self._older_than()
        for batch in _growing(self._unneeded()):
            digests = [blob.digest for blob in batch]
            gone = self.catalog.drop_unneeded(digests, older_than)
            self.dropped += len(gone)
            self._sweep(gone)

    def drop_strays(self) -> None:
        """What a command brought in and had no time to write down."""
        for batch in batched(self._strays(), BATCH):
            self.strays += self._sweep([digest for digest, _ in batch])

    def _unneeded(self) -> Iterator[HeldBlob]:
        for blob in self.catalog.unneeded_blobs(self._older_than(), self.dead):
            if blob.digest not in self.also_needed:
                yield blob

    def _strays(self) -> Iterator[tuple[Digest, int]]:
        youngest_s = self.now_s - self.options.grace_s
        for batch in batched(self.blobs.digests(), LOOK):
            # One range for what stands in a row; few of them are not held.
            held = self.catalog.held_between(min(batch), max(batch))
            unknown = [digest for digest in batch if digest not in held]
            needed = self.catalog.needed(unknown, self.dead)
            for digest in unknown:
                if digest in needed:
                    continue
                if digest in self.also_needed:
                    self.adoptable += 1
                    continue
                there = _stat(self.blobs, digest)
                if there and (not self.options.grace_s or there.st_mtime < youngest_s):
                    yield digest, there.st_size

    def _older_than(self) -> datetime | None:
        if not self.options.grace_s:
            return None
        now = datetime.fromtimestamp(self.now_s, UTC)
        return now - timedelta(seconds=self.options.grace_s)

    def _sweep(self, digests: Sequence[Digest]) -> int:
        """Take out the files of those that nobody needs; how many."""
        moved = _move_out(self.catalog, self.trash, digests, self.now_s)
        for item in moved:
            self.freed_bytes += item.size_bytes
            if not self.options.trash_kept_s:
                self.trash.delete(item)
        return len(moved)


def _growing(items: Iterator[HeldBlob]) -> Iterator[list[HeldBlob]]:
    """*items* in batches, each twice as large as the one before, up to the largest."""
    size = FIRST_BATCH
    while batch := list(islice(items, size)):
        yield batch
        size = min(2 * size, BATCH)


def _move_out(
    catalog: Catalog, trash: Trash, digests: Sequence[Digest], now_s: float
) -> list[Trashed]:
    moved: dict[Digest, Trashed] = {}

    def decide(needed: AbstractSet[Digest]) -> None:
        for digest in digests:
            if digest not in needed:
                item = trash.put(digest, now_s)
                if item:
                    moved[digest] = item
            elif digest in moved:  # the database had us decide again
                trash.put_back(moved.pop(digest))

    try:
        catalog.while_deciding(digests, decide)
    except BaseException:
        # Whether the others were held off to the end is not known.
        for item in moved.values():
            trash.put_back(item)
        raise
    return list(moved.values())


def _settle(
    catalog: Catalog,
    trash: Trash,
    batch: Sequence[Trashed],
    also_needed: Container[Digest],
    oldest_s: float,
) -> int:
    waited: list[Trashed] = []
    returned: set[str] = set()

    def decide(needed: AbstractSet[Digest]) -> None:
        waited.clear()
        for item in batch:
            is_needed = item.digest in needed or item.digest in also_needed
            if is_needed and trash.put_back(item):
                returned.add(item.name)
            elif item.since_s <= oldest_s:
                waited.append(item)

    catalog.while_deciding([item.digest for item in batch], decide)
    for item in waited:
        trash.delete(item)
    return len(returned)


def _stat(blobs: BlobStore, digest: Digest) -> os.stat_result | None:
    try:
        with blobs.open(digest) as file:
            return os.fstat(file.fileno())
    except BlobNotFoundError:
        return None  # another gc was first
