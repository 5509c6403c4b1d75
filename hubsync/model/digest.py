"""Names of bytes: sha256 digests, git object ids, descriptors."""

import hashlib
import re
from dataclasses import dataclass

from hubsync.model.errors import IntegrityError

_HEX64 = re.compile(r"[0-9a-f]{64}")
_HEX40 = re.compile(r"[0-9a-f]{40}")


class InvalidDigestError(IntegrityError):
    """A string that should name bytes does not have the form of a name."""

    def __init__(self, kind: str, text: object) -> None:
        super().__init__(f"not a {kind}: {str(text)[:80]!r}")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """SHA-256 of a blob's bytes, printed and parsed as ``sha256:<64 hex>``.

    git-lfs calls this an *oid*, OCI a *digest*.  It is never the 40-hex git
    object id, which hashes a header as well: that is ``GitOid``.
    """

    hex: str

    def __post_init__(self) -> None:
        if not _HEX64.fullmatch(self.hex):
            raise InvalidDigestError("sha256 digest (64 hex)", self.hex)

    @classmethod
    def of(cls, data: bytes) -> "Digest":
        return cls(hashlib.sha256(data).hexdigest())

    @classmethod
    def parse(cls, text: str) -> "Digest":
        return cls(text.removeprefix("sha256:"))

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


@dataclass(frozen=True, slots=True, order=True)
class GitOid:
    r"""40-hex git object id: ``sha1(b"blob <size>\\0" + bytes)`` for a blob."""

    hex: str

    def __post_init__(self) -> None:
        if not _HEX40.fullmatch(self.hex):
            raise InvalidDigestError("git object id (40 hex)", self.hex)

    @classmethod
    def of_blob(cls, data: bytes) -> "GitOid":
        return cls(hashlib.sha1(git_header(len(data)) + data).hexdigest())  # noqa: S324 - git's choice

    def __str__(self) -> str:
        return self.hex


def git_header(size_bytes: int, kind: str = "blob") -> bytes:
    """What git hashes before the content of an object."""
    return b"%s %d\0" % (kind.encode(), size_bytes)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is known of a blob before we hold it: its size, and one of its names.

    An LFS file is known by *digest*; a plain file by *git_oid* (no hub tells
    the sha256 of a plain file); a held blob by both.
    """

    size_bytes: int
    digest: Digest | None = None
    git_oid: GitOid | None = None

    def __post_init__(self) -> None:
        assert self.digest or self.git_oid, "a descriptor names its bytes"
        assert self.size_bytes >= 0, "a size is not negative"

    @property
    def key(self) -> str:
        """Stable name for a partial of this blob: ``sha256-…`` or ``git-…``."""
        if self.digest:
            return f"sha256-{self.digest.hex}"
        assert self.git_oid
        return f"git-{self.git_oid.hex}"

    def __str__(self) -> str:
        return str(self.digest) if self.digest else f"git:{self.git_oid}"
