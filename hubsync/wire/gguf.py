"""The start of a ``.gguf`` file: what model it is, and how large.

Versions 2 and 3 (https://github.com/ggml-org/ggml, docs/gguf.md): a magic word,
two counts, key-value pairs, then one line a tensor.  Parsed from the first bytes
of a file; nothing that it says of its lengths is believed (CVE-2026-7482), and
arrays, which hold whole vocabularies, are stepped over.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

MAGIC = b"GGUF"
HEAD_BYTES_MAX = 32 * 1024 * 1024  # all of it, before the tensors' data
_PAIRS_MAX = 10_000
_TENSORS_MAX = 200_000
_DIMENSIONS_MAX = 8
_KEY_BYTES_MAX = 65_535  # by the format
_TEXT_BYTES_MAX = 1024 * 1024  # a chat template has some KB
_PARAMETERS_MAX = 2**63 - 1
_NESTING_MAX = 4

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<B",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_SIZES = {kind: struct.calcsize(form) for kind, form in _SCALARS.items()}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

Scalar = str | int | float | bool


class GgufError(ValueError):
    """These bytes are not the start of a GGUF file, or of none that we read."""


class GgufShortError(GgufError):
    """They may be: more of the file is needed to tell."""


@dataclass(frozen=True, slots=True)
class Gguf:
    """What the start of a file says.

    *values* has the pairs that are no arrays; *tokens* the vocabulary's entries
    that the pairs point at, by their number.
    """

    values: Mapping[str, Scalar]
    parameters: int
    tensors: int
    tokens: Mapping[int, str] = field(default_factory=dict)

    @property
    def architecture(self) -> str | None:
        return self.text("general.architecture")

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> int | None:
        value = self.values.get(key)
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return value if is_number else None  # type: ignore[return-value]

    def token(self, which: str) -> str | None:
        """The text of the token *which* (``bos``, ``eos``), if it has one."""
        number = self.number(f"tokenizer.ggml.{which}_token_id")
        return None if number is None else self.tokens.get(number)


def parse_gguf(data: bytes) -> Gguf:
    """What *data*, a file's first bytes, says.

    Raises:
        GgufShortError: it goes on beyond *data*.
        GgufError: it is nothing that we can read.
    """
    if not data.startswith(MAGIC[: len(data)]):
        raise GgufError("another magic word")
    reader = _Reader(data)
    reader.take(len(MAGIC))
    version = reader.u32()
    if version not in (2, 3):
        # Also a big-endian file: its version reads as 33,554,432 and more.
        raise GgufError(f"version {version}")
    tensors, pairs = reader.u64(), reader.u64()
    if tensors > _TENSORS_MAX or pairs > _PAIRS_MAX:
        raise GgufError(f"{tensors} tensors, {pairs} pairs")
    values: dict[str, Scalar] = {}
    vocabulary: tuple[int, int] | None = None
    for _ in range(pairs):
        key, kind = reader.text(_KEY_BYTES_MAX), reader.u32()
        if kind != _ARRAY:
            values[key] = reader.value(kind)
            continue
        start = reader.at
        inner, length = reader.array()
        if key == "tokenizer.ggml.tokens" and inner == _STRING:
            vocabulary = (start + _U32.size + _U64.size, length)
    parameters = sum(reader.tensor() for _ in range(tensors))
    if parameters > _PARAMETERS_MAX:
        raise GgufError(f"{parameters} parameters")
    found = Gguf(values, parameters, tensors)
    if vocabulary is None:
        return found
    tokens = _tokens(data, vocabulary, found)
    return Gguf(values, parameters, tensors, tokens)


def _tokens(data: bytes, where: tuple[int, int], head: Gguf) -> dict[int, str]:
    """The beginning and the end token, from the vocabulary's array."""
    start, length = where
    asked = {head.number(f"tokenizer.ggml.{one}_token_id") for one in ("bos", "eos")}
    wanted = sorted(one for one in asked if one is not None and 0 <= one < length)
    reader, number, found = _Reader(data, start), 0, {}
    for one in wanted:
        reader.strings(one - number)
        found[one], number = reader.text(_TEXT_BYTES_MAX), one + 1
    return found


class _Reader:
    """Takes one thing after another, and never more than there is."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self.at = data, at

    def take(self, length: int) -> bytes:
        end = self.at + length
        self._require(end)
        found = self._data[self.at : end]
        self.at = end
        return found

    def _require(self, end: int) -> None:
        if end > HEAD_BYTES_MAX:
            raise GgufError(f"more than {HEAD_BYTES_MAX} bytes before the data")
        if end > len(self._data):
            raise GgufShortError(f"{end} bytes are needed")

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def text(self, length_max: int) -> str:
        length = self.u64()
        if length > length_max:
            raise GgufError(f"a text of {length} bytes")
        return self.take(length).decode(errors="replace")

    def value(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self.text(_TEXT_BYTES_MAX)
        form = _SCALARS.get(kind)
        if form is None:
            raise GgufError(f"a value of type {kind}")
        number: int | float = struct.unpack(form, self.take(_SIZES[kind]))[0]
        return bool(number) if kind == _BOOL else number

    def array(self, nesting: int = 0) -> tuple[int, int]:
        """Step over an array; the type and number of its elements."""
        kind, length = self.u32(), self.u64()
        if kind == _STRING:
            self.strings(length)
        elif kind == _ARRAY:
            if nesting >= _NESTING_MAX:
                raise GgufError("arrays in arrays in arrays")
            for _ in range(self._bounded(length)):
                self.array(nesting + 1)
        elif kind in _SIZES:
            end = self.at + _SIZES[kind] * length
            self._require(end)
            self.at = end
        else:
            raise GgufError(f"an array of type {kind}")
        return kind, length

    def strings(self, count: int) -> None:
        """Step over *count* strings: some hundred thousand, so no call for each."""
        data, at, size = self._data, self.at, len(self._data) - 8
        unpack = _U64.unpack_from
        for _ in range(self._bounded(count)):
            if at > size:
                self._require(at + 8)
            at += 8 + unpack(data, at)[0]
        self._require(at)
        self.at = at

    def _bounded(self, count: int) -> int:
        """*count*, unless that many things of eight bytes cannot be there."""
        if self.at + 8 * count > HEAD_BYTES_MAX:
            raise GgufError(f"an array of {count}")
        return count

    def tensor(self) -> int:
        """Step over one tensor's line; how many elements it has."""
        self.text(_KEY_BYTES_MAX)
        dimensions = self.u32()
        if dimensions > _DIMENSIONS_MAX:
            raise GgufError(f"a tensor of {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self.u64()
        self.take(4 + 8)  # its type, and where its data are
        return elements


def emit_gguf(head: Gguf) -> dict[str, object]:
    """What the Hub's info object says of it, in the Hub's order."""
    found: dict[str, object] = {"total": head.parameters}
    architecture = head.architecture
    if architecture is not None:
        found["architecture"] = architecture
        context = head.number(f"{architecture}.context_length")
        if context is not None and context <= _PARAMETERS_MAX:
            found["context_length"] = context
    texts = {
        "quantize_imatrix_file": head.text("quantize.imatrix.file"),
        "chat_template": head.text("tokenizer.chat_template"),
        "bos_token": head.token("bos"),
        "eos_token": head.token("eos"),
    }
    return found | {name: text for name, text in texts.items() if text is not None}
