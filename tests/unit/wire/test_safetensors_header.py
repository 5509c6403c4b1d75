"""Headers of safetensors files, and what liars write there."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from hubsync.wire.safetensors_header import (
    HEADER_BYTES_MAX,
    LENGTH_BYTES,
    count_parameters,
    emit_safetensors,
    header_length,
    parse_header,
    parse_index,
)


def counted(file: bytes) -> dict[str, int] | None:
    length = header_length(file)
    if length is None:
        return None
    header = parse_header(file[LENGTH_BYTES : LENGTH_BYTES + length])
    return None if header is None else count_parameters(header)


def test_a_file_that_safetensors_wrote() -> None:
    tensors: dict[str, Any] = {
        "a": np.zeros((3, 5), np.float32),
        "b": np.zeros((7,), np.float16),
        "c": np.zeros((), np.float32),
        "empty": np.zeros((0, 9), np.int64),
    }
    counts = counted(save(tensors, metadata={"format": "np"}))
    assert counts == {"F32": 16, "F16": 7, "I64": 0}
    assert emit_safetensors(counts) == {"parameters": counts, "total": 23}


@pytest.mark.parametrize(
    "length", [0, 1, HEADER_BYTES_MAX + 1, 100_000_001, 2**32, 2**63, 2**64 - 1]
)
def test_s45_a_header_of_impossible_length_is_none(length: int) -> None:
    """S45: the length is asked of nobody's memory."""
    assert header_length(length.to_bytes(8, "little")) is None


def test_a_file_that_ends_in_its_length_has_no_header() -> None:
    assert header_length(b"\2\0\0\0\0\0\0") is None
    assert header_length(b"") is None


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"{", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 10_000],
)
def test_what_is_no_object_is_no_header(header: bytes) -> None:
    assert parse_header(header) is None


@pytest.mark.parametrize(
    "tensor",
    [
        1, [], {}, {"dtype": "F32"}, {"shape": [1]}, {"dtype": 1, "shape": [1]},
        {"dtype": "F32", "shape": 1}, {"dtype": "F32", "shape": [-1]},
        {"dtype": "F32", "shape": [True]}, {"dtype": "F32", "shape": [1.5]},
        {"dtype": "F32", "shape": ["1"]}, {"dtype": "F32", "shape": [2**62, 4]},
        {"dtype": "F32", "shape": [1] * 33}, {"dtype": "<script>", "shape": [1]},
        {"dtype": "X" * 21, "shape": [1]},
    ],
)  # fmt: skip
def test_one_tensor_that_cannot_be_makes_the_count_worthless(tensor: object) -> None:
    good = {"dtype": "F32", "shape": [2]}
    assert count_parameters({"good": good, "bad": tensor}) is None


def test_a_sum_that_no_number_holds_is_none() -> None:
    half = {"dtype": "F32", "shape": [2**62]}
    assert count_parameters({"a": half}) == {"F32": 2**62}
    assert count_parameters({"a": half, "b": half}) is None


def test_more_types_than_there_are() -> None:
    tensors = {f"t{n}": {"dtype": f"T{n}", "shape": [1]} for n in range(65)}
    assert count_parameters(tensors) is None


def test_an_index_names_its_shards() -> None:
    index = {"metadata": {}, "weight_map": {"a": "x-1", "b": "x-2", "c": "x-1"}}
    assert parse_index(orjson.dumps(index)) == frozenset({"x-1", "x-2"})


@pytest.mark.parametrize(
    "index", [b"", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": 1}}',
              b'{"weight_map": ["a"]}'],
)  # fmt: skip
def test_what_is_no_index_names_none(index: bytes) -> None:
    assert parse_index(index) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
TENSORS = st.dictionaries(
    st.text(),
    st.fixed_dictionaries({"dtype": st.text() | st.just("F32"), "shape": JSON}) | JSON,
)


@given(TENSORS)
def test_no_header_breaks_the_counting(header: dict[str, object]) -> None:
    counts = count_parameters(header)
    assert counts is None or all(number >= 0 for number in counts.values())


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(file: bytes) -> None:
    counted(file)
    parse_index(file)
