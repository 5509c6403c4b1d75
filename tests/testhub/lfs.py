"""LFS objects: content by sha256 in a directory, and the pointers git holds."""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.testhub.content import Virtual

# A pointer for 1 to 19 digits of size; only blobs of this length are looked at.
POINTER_BYTES = range(126, 146)
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d+)\n"
)
_XET_MASK = 0xA5
_BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lfs:
    """File content that is to be a git-lfs object, from memory, disk or nowhere."""

    content: bytes | Path | Virtual


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """What a pointer says: the sha256 and the size of the content."""

    sha256: str
    size: int

    @property
    def text(self) -> bytes:
        head = "version https://git-lfs.github.com/spec/v1\n"
        return f"{head}oid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def xet_hash(self) -> str:
        return xet_hash_of(self.sha256)

    @classmethod
    def parse(cls, data: bytes) -> "LfsPointer | None":
        match = _POINTER.fullmatch(data)
        return cls(match[1].decode(), int(match[2])) if match else None


def xet_hash_of(sha256: str) -> str:
    """A stand-in for the Xet hash: never the sha256, but it can be turned back."""
    return bytes(byte ^ _XET_MASK for byte in bytes.fromhex(sha256)).hex()


def sha256_of_xet(xet_hash: str) -> str:
    return xet_hash_of(xet_hash)


class LfsStore:
    """A directory of objects, ``<2 hex>/<2 hex>/<sha256>``, shared by all repos.

    Virtual ones are known to this process only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._virtual: dict[str, Virtual] = {}

    def find(self, sha256: str) -> Path | Virtual | None:
        """What holds the bytes of this object, if anything does."""
        if sha256 in self._virtual:
            return self._virtual[sha256]
        path = self.path(sha256)
        return path if path.exists() else None

    def path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256[2:4] / sha256

    def put(self, lfs: Lfs) -> LfsPointer:
        if isinstance(lfs.content, Virtual):
            pointer = LfsPointer(lfs.content.sha256, lfs.content.size)
            self._virtual[pointer.sha256] = lfs.content
            return pointer
        if isinstance(lfs.content, bytes):
            pointer = LfsPointer(
                hashlib.sha256(lfs.content).hexdigest(), len(lfs.content)
            )
            self._place(pointer.sha256).write_bytes(lfs.content)
            return pointer
        with lfs.content.open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        target = self._place(sha256)
        if not target.exists():
            shutil.copyfile(lfs.content, target)
        return LfsPointer(sha256, lfs.content.stat().st_size)

    def remove(self, sha256: str) -> None:
        """Lose the content: the tree still names it, ``/resolve`` answers 404."""
        if self._virtual.pop(sha256, None) is None:
            self.path(sha256).unlink()

    def _place(self, sha256: str) -> Path:
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target
