"""What a blob is that no record speaks of."""

import hashlib
from collections.abc import Mapping

from hubsync.model.digest import Digest, GitOid, git_header
from hubsync.model.units import MIB
from hubsync.ports.blobs import BlobNotFoundError, BlobStore, HeldBlob


def identify(
    blobs: BlobStore, digest: Digest, wanted: Mapping[GitOid, int]
) -> tuple[HeldBlob | None, bool]:
    """*digest* as one of the plain files *wanted* (git id -> size), if it is one.

    And whether it was read for that: its size may be nobody's.
    """
    sizes = frozenset(wanted.values())
    try:
        with blobs.open(digest) as file:
            size = file.seek(0, 2)
            if size not in sizes:
                return None, False
            file.seek(0)
            sha1 = hashlib.sha1(git_header(size))  # noqa: S324 - git's choice
            while block := file.read(MIB):
                sha1.update(block)
    except BlobNotFoundError:
        return None, False  # a gc beside us was first
    oid = GitOid(sha1.hexdigest())
    return (HeldBlob(digest, size, oid) if oid in wanted else None), True


def is_what_it_says(blobs: BlobStore, digest: Digest) -> int | None:
    """The size of a blob whose bytes have its digest; None: they have not."""
    with blobs.open(digest) as file:
        sha256, size = hashlib.sha256(), 0
        while block := file.read(MIB):
            sha256.update(block)
            size += len(block)
    return size if sha256.hexdigest() == digest.hex else None
