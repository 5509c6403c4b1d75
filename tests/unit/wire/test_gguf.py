"""The start of GGUF files, and what liars write there."""

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.wire.gguf import (
    HEAD_BYTES_MAX,
    Gguf,
    GgufError,
    GgufShortError,
    emit_gguf,
    parse_gguf,
)
from tests.gguf_files import (
    ARRAY,
    CHATML,
    STRING,
    U8,
    U32,
    Value,
    gguf,
    pair,
    tensor,
    text,
    tiny_llama,
)

TINY = tiny_llama()


def head(tensors: int, pairs: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def test_what_the_hub_says_of_a_file() -> None:
    said = emit_gguf(parse_gguf(TINY))
    assert said == {
        "total": 1088,
        "architecture": "llama",
        "context_length": 2048,
        "chat_template": CHATML,
        "bos_token": "<s>",
        "eos_token": "</s>",
    }
    assert list(said)[:3] == ["total", "architecture", "context_length"]


def test_an_importance_matrix_is_named() -> None:
    file = gguf({"quantize.imatrix.file": "/models/x.imatrix"}, {})
    assert emit_gguf(parse_gguf(file)) == {
        "total": 0,
        "quantize_imatrix_file": "/models/x.imatrix",
    }


def test_version_2_reads_as_3() -> None:
    shapes = {"w": (2, 3, 4)}
    assert parse_gguf(gguf({}, shapes, version=2)).parameters == 24


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(GgufError, match="version"):
        parse_gguf(gguf({}, {}, version=version))


def test_values_are_those_of_their_types() -> None:
    values: dict[str, Value] = {"t": "x", "b": True, "f": 0.5, "n": 7, "big": 2**40}
    found = parse_gguf(gguf(values, {}))
    assert found.values == values
    assert found.number("b") is None
    assert found.text("n") is None


def test_arrays_are_stepped_over() -> None:
    values: dict[str, Value] = {
        "nested": (ARRAY, [(U32, [1, 2]), (STRING, ["a", "bc"]), (U8, [])]),
        "bytes": (U8, [1, 2, 3]),
        "after": "here",
    }
    assert parse_gguf(gguf(values, {})).values == {"after": "here"}


@pytest.mark.parametrize(
    ("bos", "eos"), [(0, 1), (1, 0), (2, 2), (1, 99), (2**31, 1), (2**63, 2**64 - 1)]
)
def test_tokens_by_number(bos: int, eos: int) -> None:
    """Also those that the vocabulary has not."""
    words = ["zero", "one", "two"]
    values: dict[str, Value] = {
        "tokenizer.ggml.bos_token_id": bos,
        "tokenizer.ggml.tokens": (STRING, words),
        "tokenizer.ggml.eos_token_id": eos,
    }
    found = parse_gguf(gguf(values, {}))
    assert found.token("bos") == (words[bos] if bos < 3 else None)
    assert found.token("eos") == (words[eos] if eos < 3 else None)


@pytest.mark.parametrize("length", range(len(TINY.rstrip(b"\0")) - 12))
def test_a_part_of_a_file_asks_for_more(length: int) -> None:
    with pytest.raises(GgufShortError):
        parse_gguf(TINY[:length])


LIES = {
    "another magic word": b"GGML" + TINY[4:],
    "pairs without end": head(0, 2**64 - 1),
    "tensors without end": head(2**64 - 1, 0),
    "a key without end": head(0, 1) + struct.pack("<Q", 2**63),
    "a text without end": head(0, 1) + text("k") + struct.pack("<IQ", STRING, 2**62),
    "a type that is none": head(0, 1) + text("k") + struct.pack("<I", 13),
    "an array of nothing known": head(0, 1) + text("k") + struct.pack("<IIQ", 9, 99, 1),
    "numbers without end": head(0, 1) + text("k") + struct.pack("<IIQ", 9, 10, 2**61),
    "strings without end": head(0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 2**61),
    "arrays without end": head(0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 2**61),
    "a string in an array without end": head(0, 1)
    + text("k")
    + struct.pack("<IIQQ", 9, 8, 2, 2**63)
    + bytes(100),
    "arrays in arrays": head(0, 1)
    + text("k")
    + struct.pack("<I", 9)
    + struct.pack("<IQ", 9, 1) * 100,
    "dimensions without end": head(1, 0) + text("w") + struct.pack("<I", 2**31),
    "more parameters than a number holds": head(1, 0) + tensor("w", (2**40, 2**40)),
}


@pytest.mark.parametrize("lie", LIES)
def test_s45_a_lie_is_refused_at_once(lie: str) -> None:
    """S45: neither time nor memory is spent on what a length claims."""
    started = time.process_time()
    with pytest.raises(GgufError) as caught:
        parse_gguf(LIES[lie])
    assert not isinstance(caught.value, GgufShortError)
    assert time.process_time() - started < 1


def test_arrays_of_nothing_end_where_the_head_must() -> None:
    """Empty arrays cost the sender 12 bytes each, and cannot go on for ever."""
    count = HEAD_BYTES_MAX // 8
    file = head(0, 1) + text("k") + struct.pack("<IIQ", ARRAY, ARRAY, count)
    with pytest.raises(GgufError):
        parse_gguf(file + struct.pack("<IQ", U8, 0) * 1000)


def test_a_vocabulary_as_large_as_they_come_is_read_quickly() -> None:
    words = [f"token {number}" for number in range(260_000)]
    file = gguf({"tokenizer.ggml.tokens": (STRING, words), "x": 1}, {"w": (1,)})
    started = time.process_time()
    assert parse_gguf(file).values == {"x": 1}
    assert time.process_time() - started < 2


@given(st.integers(0, len(TINY) - 1), st.binary(min_size=1, max_size=12))
def test_no_change_breaks_the_reading(at: int, patch: bytes) -> None:
    file = TINY[:at] + patch + TINY[at + len(patch) :]
    try:
        emit_gguf(parse_gguf(file))
    except GgufError:
        return


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reading(noise: bytes) -> None:
    for file in (noise, head(1, 2) + noise, TINY[:100] + noise):
        try:
            emit_gguf(parse_gguf(file))
        except GgufError:
            continue


KEYS = st.text(max_size=10)
VALUES = st.text() | st.booleans() | st.integers(0, 2**64 - 1)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_was_written_is_read(values: dict[str, str | bool | int]) -> None:
    found = parse_gguf(gguf(values, {"w": (3,)}))
    assert found == Gguf(values, parameters=3, tensors=1)


def test_a_pair_is_written_as_the_format_says() -> None:
    """What all of the above stands on, once by hand."""
    said = b"\1\0\0\0\0\0\0\0k" + b"\4\0\0\0" + b"\7\0\0\0"
    assert pair("k", 7) == said
