"""git-lfs pointer files."""

import re

from hubsync.model.digest import Digest, GitOid

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"oid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]*)\n"
)
POINTER_BYTES_MAX = 1024


def emit_pointer(digest: Digest, size_bytes: int) -> bytes:
    """The pointer git-lfs writes for this content, byte for byte.

    An empty file has an empty pointer (git-lfs spec: "empty files are pointers
    to themselves").
    """
    if size_bytes == 0:
        return b""
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
        digest.hex.encode(),
        size_bytes,
    )


def parse_pointer(data: bytes) -> tuple[Digest, int] | None:
    """``(digest, size)`` if *data* is a pointer as git-lfs writes it, else None."""
    found = _POINTER.fullmatch(data) if len(data) <= POINTER_BYTES_MAX else None
    return (Digest(found[1].decode()), int(found[2])) if found else None


def pointer_oid(digest: Digest, size_bytes: int) -> GitOid:
    """The git object id of the pointer: the ``oid`` a tree shows for an LFS file."""
    return GitOid.of_blob(emit_pointer(digest, size_bytes))
