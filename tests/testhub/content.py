"""Where the bytes of an answer come from: memory, disk, or nowhere at all."""

import hashlib
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

Block = bytes | memoryview
# Nothing divides it, so no two parts of a file are alike: one that lands at a
# wrong offset changes the digest.
_PERIOD = 1_000_003
_BLOCK_BYTES_MAX = 4 * 1024 * 1024

# `hashlib.sha256` over so many zero bytes, in blocks of 1 MiB, worked out once.
_ZEROS = {
    60 * 2**30: "9cae5eb2ae940f35977d2b9a29905062bca387ac56b63f5e0c968f4da666acfb",
}


@dataclass(frozen=True, slots=True)
class Virtual:
    """Bytes that are made when they are asked for, and stored nowhere.

    ``zeros`` leaves a sparse file where it is written; ``pattern`` differs at
    every offset.
    """

    size: int
    kind: Literal["zeros", "pattern"] = "pattern"
    seed: int = 0

    @property
    def sha256(self) -> str:
        if self.kind == "zeros" and self.size in _ZEROS:
            return _ZEROS[self.size]
        return _digest(self)

    def read(self, offset: int, length: int) -> memoryview:
        """*length* bytes from *offset* on (4 MiB at most), without a copy."""
        start = self.place(offset)
        return self.buffer[start : start + min(length, self.size - offset)]

    @property
    def buffer(self) -> memoryview:
        """What is repeated, long enough for 4 MiB from any `place` on."""
        return _buffer(self.kind, self.seed)

    def place(self, offset: int) -> int:
        """Where in `buffer` the byte at *offset* is."""
        return offset % _PERIOD if self.kind == "pattern" else 0

    def content(self) -> bytes:
        """All of it, for small ones."""
        return b"".join(self._blocks())

    def _blocks(self) -> "list[memoryview]":
        offsets = range(0, self.size, _BLOCK_BYTES_MAX)
        return [self.read(offset, _BLOCK_BYTES_MAX) for offset in offsets]


@lru_cache(maxsize=64)
def _digest(virtual: Virtual) -> str:
    digest = hashlib.sha256()
    for offset in range(0, virtual.size, _BLOCK_BYTES_MAX):
        digest.update(virtual.read(offset, _BLOCK_BYTES_MAX))
    return digest.hexdigest()


@lru_cache(maxsize=4)
def _buffer(kind: str, seed: int) -> memoryview:
    if kind == "zeros":
        return memoryview(bytes(_BLOCK_BYTES_MAX))
    once = random.Random(seed).randbytes(_PERIOD)
    times = _BLOCK_BYTES_MAX // _PERIOD + 2
    return memoryview(once * times)


class Reader:
    """Random reads of *source*; use as a context manager."""

    def __init__(self, source: bytes | Path | Virtual) -> None:
        self._source = source
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if isinstance(self._source, Path):
            self._file = self._source.open("rb", buffering=0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, offset: int, length: int) -> Block:
        if isinstance(self._source, Virtual):
            return self._source.read(offset, length)
        if self._file is None:
            assert isinstance(self._source, bytes)
            return self._source[offset : offset + length]
        self._file.seek(offset)
        return self._file.read(length)


def size_of(source: bytes | Path | Virtual) -> int:
    if isinstance(source, Virtual):
        return source.size
    return len(source) if isinstance(source, bytes) else source.stat().st_size
