"""What a blob's bytes are, as they go by, and whether that is what was wanted."""

import hashlib

from hubsync.model.digest import Descriptor, Digest, GitOid, git_header


class BlobHash:
    """sha256 of a blob so far, and its git object id when that is asked for."""

    def __init__(self, want: Descriptor) -> None:
        self._want = want
        self.at = 0  # bytes hashed
        self._sha256 = hashlib.sha256()
        self._sha1 = (
            hashlib.sha1(git_header(want.size_bytes))  # noqa: S324 - git's choice
            if want.git_oid
            else None
        )

    def update(self, block: bytes | bytearray | memoryview) -> None:
        self._sha256.update(block)
        if self._sha1 is not None:
            self._sha1.update(block)
        self.at += len(block)

    @property
    def digest(self) -> Digest:
        return Digest(self._sha256.hexdigest())

    @property
    def git_oid(self) -> GitOid | None:
        return GitOid(self._sha1.hexdigest()) if self._sha1 else None

    def other(self) -> str | None:
        """What was hashed, as an error names it; None: what was wanted."""
        want, digest, oid = self._want, self.digest, self.git_oid
        is_digest = want.digest in (None, digest)
        is_oid = want.git_oid in (None, oid)
        if self.at == want.size_bytes and is_digest and is_oid:
            return None
        return f"git:{oid}" if oid and is_digest else str(digest)
