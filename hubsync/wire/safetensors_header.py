"""The header of a ``.safetensors`` file: which tensors it has, of which type.

Eight bytes say how long the header is (little-endian), the header is one JSON
object (https://huggingface.co/docs/safetensors, "Format").  Nothing it says is
believed: whoever made the file may have lied about every length.
"""

import re
from collections.abc import Mapping

import orjson

LENGTH_BYTES = 8
# The format allows 100 MB; the largest models have a few hundred KB a file.
HEADER_BYTES_MAX = 16 * 1024 * 1024
INDEX_BYTES_MAX = 16 * 1024 * 1024
PARAMETERS_MAX = 2**63 - 1
_DTYPE = re.compile(r"[A-Za-z0-9_]{1,20}")
_DTYPES_MAX = 64
_DIMENSIONS_MAX = 32


def header_length(start: bytes) -> int | None:
    """How many bytes of header follow *start*, the file's first eight.

    None: it is no such file, or has more than `HEADER_BYTES_MAX`.
    """
    if len(start) < LENGTH_BYTES:
        return None
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    return length if 2 <= length <= HEADER_BYTES_MAX else None  # noqa: PLR2004 - "{}"


def parse_header(header: bytes) -> Mapping[str, object] | None:
    """The header as it stands, or None if it is none."""
    try:
        found = orjson.loads(header)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def count_parameters(header: Mapping[str, object]) -> dict[str, int] | None:
    """How many parameters of each type there are; None if that cannot be."""
    counts: dict[str, int] = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(tensor, dict):
            return None
        dtype, size = tensor.get("dtype"), _size(tensor.get("shape"))
        if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype) or size is None:
            return None
        counts[dtype] = counts.get(dtype, 0) + size
    total = sum(counts.values())
    return counts if len(counts) <= _DTYPES_MAX and total <= PARAMETERS_MAX else None


def _size(shape: object) -> int | None:
    if not isinstance(shape, list) or len(shape) > _DIMENSIONS_MAX:
        return None
    size = 1  # a scalar has no dimension
    for length in shape:
        if not isinstance(length, int) or isinstance(length, bool) or length < 0:
            return None
        size *= length
        if size > PARAMETERS_MAX:
            return None
    return size


def parse_index(index: bytes) -> frozenset[str] | None:
    """The files that a ``model.safetensors.index.json`` names."""
    try:
        found = orjson.loads(index)
    except orjson.JSONDecodeError:
        return None
    weight_map = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        return None
    shards = frozenset(one for one in weight_map.values() if isinstance(one, str))
    return shards or None


def emit_safetensors(counts: Mapping[str, int]) -> dict[str, object]:
    """What the Hub's info object says of it."""
    return {"parameters": dict(counts), "total": sum(counts.values())}
