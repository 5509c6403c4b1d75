"""What of a tree is held, and whether the store still has it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from hubsync.catalog.catalog import Catalog
from hubsync.model.batches import batched
from hubsync.model.digest import Digest, GitOid
from hubsync.model.errors import IntegrityError
from hubsync.model.repo import RepoId
from hubsync.model.snapshot import TreeEntry
from hubsync.ports.blobs import BlobStore


@dataclass(slots=True)
class Stock:
    """What is held of a tree under its files' own names, and what was lost of it."""

    digests: set[Digest] = field(default_factory=set)
    oids: set[GitOid] = field(default_factory=set)
    lost: dict[Digest, int] = field(default_factory=dict)  # recorded; sizes in bytes


def take_stock(
    catalog: Catalog, blobs: BlobStore, repo: RepoId, tree: Sequence[TreeEntry]
) -> Stock:
    """Look up each file of *tree*, some at a time.

    A row can outlive its bytes (a disk was cleaned by hand): one stat a blob finds
    it here, instead of a client finding it later.

    Raises:
        IntegrityError: *repo* lists a size that is not the one of what we hold.
    """
    stock = Stock()
    for some in batched(tree):
        _count(stock, catalog, blobs, repo, some)
    return stock


def _count(
    stock: Stock,
    catalog: Catalog,
    blobs: BlobStore,
    repo: RepoId,
    some: Sequence[TreeEntry],
) -> None:
    sizes = catalog.held([entry.lfs for entry in some if entry.lfs])
    plain = catalog.held_by_git_oid([one.git_oid for one in some if not one.lfs])
    for entry in some:
        blob = None if entry.lfs else plain.get(entry.git_oid)
        digest = entry.lfs or (blob.digest if blob else None)
        # Looked for with the size that we hold it with, never the listing's: a repo
        # that lists a popular file with a wrong size must not make others lose it.
        size = blob.size_bytes if blob else sizes.get(digest) if digest else None
        if digest is None or size is None:
            continue
        if entry.lfs and size != entry.size_bytes:
            raise IntegrityError(
                f"{repo} lists {entry.path} with {entry.size_bytes} bytes, but "
                f"{entry.lfs} has {size}",
                hint="Nothing was recorded; report it to the hub.",
            )
        if digest in stock.lost or not blobs.has(digest, size):
            stock.lost[digest] = size
        elif entry.lfs:
            stock.digests.add(entry.lfs)
        else:
            stock.oids.add(entry.git_oid)


def mark_lost(
    stock: Stock, catalog: Catalog, blobs: BlobStore, note: Callable[[str], None]
) -> None:
    """Have the catalog know what is lost.

    Only under a lease: else a gc may be taking it just now.
    """
    for digest, size in stock.lost.items():
        if catalog.mark_lost(digest, partial(blobs.has, digest, size)):
            note(f"{digest} is recorded but missing; fetching again")
