"""What held weights say of themselves: parameters, architecture, chat template."""

import re
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Generic, TypeVar

from hubsync.model.digest import Digest
from hubsync.model.snapshot import HeldEntry
from hubsync.ports.blobs import BlobNotFoundError, BlobStore
from hubsync.serve.lru import Lru
from hubsync.wire.gguf import (
    HEAD_BYTES_MAX,
    Gguf,
    GgufError,
    GgufShortError,
    emit_gguf,
    parse_gguf,
)
from hubsync.wire.safetensors_header import (
    INDEX_BYTES_MAX,
    LENGTH_BYTES,
    count_parameters,
    emit_safetensors,
    header_length,
    parse_header,
    parse_index,
)

T = TypeVar("T")

FILES_KEPT = 10_000  # whose numbers are remembered: some hundred bytes each
GGUF_KEPT = 500  # chat templates have some KB
UNSETTLED_S = 30.0  # what was not held may be after this long
_FIRST_READ = 1024 * 1024  # of a GGUF file: all there is without a vocabulary
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


@dataclass(frozen=True, slots=True)
class Said:
    """*keys* for the info object.  *until*: when to look again; None: never."""

    keys: Mapping[str, object] = field(default_factory=dict)
    token: Hashable = ()  # equal where *keys* are
    until: float | None = None

    @property
    def is_fresh(self) -> bool:
        return self.until is None or time.monotonic() < self.until


class Weights:
    """Reads the headers of held files, each once.  Blocks; for any thread."""

    def __init__(self, blobs: BlobStore) -> None:
        counts: Lru[tuple[dict[str, int] | None]] = Lru(FILES_KEPT, lambda _: 1)
        ggufs: Lru[tuple[Gguf | None]] = Lru(GGUF_KEPT, lambda _: 1)
        self._counts = _Reading(blobs, counts, _read_counts)
        self._ggufs = _Reading(blobs, ggufs, _read_gguf)
        self._blobs = blobs

    def gguf(self, digest: Digest) -> Gguf | None:
        """The head of a held GGUF file, or None if it cannot be read."""
        return self._ggufs.of(digest)

    def of(self, entries: Sequence[HeldEntry]) -> Said:
        """What the Hub would say of a repo with these files."""
        files = {one.entry.path: one for one in entries}
        keys: dict[str, object] = {}
        safetensors = self._safetensors(files)
        if safetensors is not None:
            keys["safetensors"] = safetensors
        first, gguf = self._first_gguf(entries)
        if gguf is not None:
            keys["gguf"] = emit_gguf(gguf)
        waiting = any(not one.held and _is_weights(one) for one in entries)
        token = (str(safetensors), first)
        return Said(keys, token, time.monotonic() + UNSETTLED_S if waiting else None)

    def _safetensors(self, files: Mapping[str, HeldEntry]) -> dict[str, object] | None:
        """All of a model's files are read, or nothing is said of it."""
        names = [_SINGLE] if _SINGLE in files else self._shards(files)
        counts: dict[str, int] = {}
        for name in names:
            one = files.get(name)
            found = self._counts.of(one.digest) if one and one.digest else None
            if found is None:
                return None
            for dtype, count in found.items():
                counts[dtype] = counts.get(dtype, 0) + count
        return emit_safetensors(counts) if counts else None

    def _shards(self, files: Mapping[str, HeldEntry]) -> list[str]:
        index = files.get(_INDEX)
        if index and index.digest and index.entry.size_bytes <= INDEX_BYTES_MAX:
            named = parse_index(_start(self._blobs, index.digest, INDEX_BYTES_MAX))
            return sorted(named or ())
        found = [one for name in files if (one := _SHARD.fullmatch(name))]
        whole = {(int(one[1]), int(one[2])) for one in found}
        count = len(whole)
        if whole != {(number, count) for number in range(1, count + 1)}:
            return []
        return sorted(one[0] for one in found)

    def _first_gguf(
        self, entries: Sequence[HeldEntry]
    ) -> tuple[Digest | None, Gguf | None]:
        for one in sorted(entries, key=lambda one: one.entry.path):
            name = one.entry.path.rpartition("/")[2].lower()
            if name.endswith(".gguf") and "mmproj" not in name and one.digest:
                return one.digest, self._ggufs.of(one.digest)
        return None, None


class _Reading(Generic[T]):
    """Something read from the start of a file, remembered by digest."""

    # One file at a time: a header may take tens of MB while it is being read.
    _turn = threading.Lock()

    def __init__(
        self,
        blobs: BlobStore,
        known: Lru[tuple[T | None]],
        read: Callable[[BinaryIO], T | None],
    ) -> None:
        self._blobs, self._known, self._read = blobs, known, read

    def of(self, digest: Digest) -> T | None:
        key = (digest.hex,)
        found = self._known.get(key)
        if found is not None:
            return found[0]
        with self._turn:
            found = self._known.get(key)
            if found is not None:
                return found[0]
            try:
                with self._blobs.open(digest) as file:
                    value = self._read(file)
            except (BlobNotFoundError, OSError):
                return None  # `verify` reports it; the info must not fail for it
            self._known.put(key, (value,))
            return value


def _read_counts(file: BinaryIO) -> dict[str, int] | None:
    length = header_length(_exactly(file, LENGTH_BYTES))
    if length is None:
        return None
    header = parse_header(_exactly(file, length))
    return None if header is None else count_parameters(header)


def _read_gguf(file: BinaryIO) -> Gguf | None:
    data = b""
    for length in (_FIRST_READ, 12 * _FIRST_READ, HEAD_BYTES_MAX):
        more = _exactly(file, length - len(data))
        data += more
        try:
            return parse_gguf(data)
        except GgufShortError:
            if not more:
                return None
        except GgufError:
            return None
    return None


def _start(blobs: BlobStore, digest: Digest, length_max: int) -> bytes:
    try:
        with blobs.open(digest) as file:
            return _exactly(file, length_max)
    except (BlobNotFoundError, OSError):
        return b""


def _exactly(file: BinaryIO, length: int) -> bytes:
    """*length* bytes, or all there are: an unbuffered file may give fewer at once."""
    blocks = []
    while length > 0 and (block := file.read(length)):
        blocks.append(block)
        length -= len(block)
    return b"".join(blocks)


def _is_weights(one: HeldEntry) -> bool:
    return one.entry.path.lower().endswith((".safetensors", ".gguf", _INDEX))
