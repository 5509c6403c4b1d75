"""Small trees and blobs, made where a test needs them."""

from hubsync.model.digest import Descriptor, Digest, GitOid
from hubsync.model.snapshot import HeldEntry, TreeEntry
from hubsync.ports.blobs import BlobStore, HeldBlob, Ingest
from hubsync.wire.lfs import pointer_oid

COMMIT = "a" * 40
OTHER_COMMIT = "b" * 40


def by_digest(data: bytes) -> Descriptor:
    """As an LFS file is asked for."""
    return Descriptor(len(data), digest=Digest.of(data))


def by_oid(data: bytes) -> Descriptor:
    """As a plain file is asked for."""
    return Descriptor(len(data), git_oid=GitOid.of_blob(data))


def begin(store: BlobStore, want: Descriptor) -> Ingest:
    ingest = store.begin(want)
    assert not isinstance(ingest, HeldBlob), "it is held already"
    assert ingest is not None, "it waited"
    return ingest


def fill(store: BlobStore, want: Descriptor, data: bytes) -> HeldBlob:
    ingest = store.begin(want)
    if isinstance(ingest, HeldBlob):
        return ingest
    assert ingest is not None, "it waited"
    ingest.write(data[ingest.offset :])
    return ingest.complete()


def read(store: BlobStore, digest: Digest) -> bytes:
    with store.open(digest) as file:
        return file.read()


def plain(path: str, data: bytes) -> TreeEntry:
    return TreeEntry(path, len(data), GitOid.of_blob(data))


def lfs(path: str, data: bytes) -> TreeEntry:
    digest = Digest.of(data)
    return TreeEntry(path, len(data), pointer_oid(digest, len(data)), digest)


def hold(store: BlobStore, entry: TreeEntry, data: bytes) -> HeldEntry:
    return HeldEntry(entry, fill(store, entry.want, data).digest)


def absent(entry: TreeEntry) -> HeldEntry:
    return HeldEntry(entry, None)
