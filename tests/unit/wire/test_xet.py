"""The arithmetic of xorbs that nobody stored."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.wire.ranges import ByteRange
from hubsync.wire.xet import (
    FRAME_BYTES,
    PIECE_BYTES,
    PIECES_A_XORB,
    XORB_BYTES,
    Xorb,
    emit_reconstruction,
    is_xet_hash,
    terms_of,
    xorb_hash,
    xorb_of,
)

HASH = "ab" * 32
SIZES = st.one_of(
    st.integers(1, 3 * XORB_BYTES),
    st.sampled_from([1, PIECE_BYTES, PIECE_BYTES + 1, XORB_BYTES, XORB_BYTES + 1]),
    st.integers(1, 2**50),
)


def framed(xorb: Xorb, content: bytes) -> bytes:
    """The xorb's bytes, the long way round."""
    part = content[xorb.start : xorb.start + xorb.size_bytes]
    found = b""
    for start in range(0, len(part), PIECE_BYTES):
        piece = part[start : start + PIECE_BYTES]
        length = len(piece).to_bytes(3, "little")
        found += b"\0" + length + b"\0" + length + piece
    return found


def read(xorb: Xorb, content: bytes, part: ByteRange) -> bytes:
    """As a server reads: by way of `Xorb.window`."""
    window = xorb.window(part)
    found = bytearray(part.size_bytes)
    filled = 0
    for place, header in window.headers:
        found[place : place + len(header)] = header
        filled += len(header)
    offset = window.file_offset
    for place, length in window.data:
        found[place : place + length] = content[offset : offset + length]
        offset += length
        filled += length
    assert filled == part.size_bytes
    return bytes(found)


CONTENT = bytes(range(251)) * 2700  # 5 pieces and a bit


@given(st.data())
def test_any_part_of_a_xorb_is_that_part_of_the_framed_bytes(
    data: st.DataObject,
) -> None:
    size = data.draw(st.integers(1, len(CONTENT)))
    xorb = Xorb(0, 0, size)
    whole = framed(xorb, CONTENT[:size])
    assert xorb.framed_bytes == len(whole)
    near = st.sampled_from([0, 1, 7, 8, 9, FRAME_BYTES - 1, FRAME_BYTES + 3])
    start = data.draw(near | st.integers(0, len(whole)))
    start = min(start, len(whole))
    stop = data.draw(st.integers(start, len(whole)))
    part = ByteRange(start, stop)
    assert read(xorb, CONTENT, part) == whole[start:stop]


def test_a_later_xorb_reads_from_where_it_begins_in_the_file() -> None:
    size = XORB_BYTES + 3 * PIECE_BYTES + 5
    xorb = xorb_of(size, 1)
    assert xorb is not None
    assert (xorb.start, xorb.size_bytes, xorb.pieces) == (
        XORB_BYTES,
        3 * PIECE_BYTES + 5,
        4,
    )
    window = xorb.window(ByteRange(FRAME_BYTES + 3, FRAME_BYTES + 20))
    assert window.headers == [(0, b"\x02\0\0\0\x02"[:5])]
    assert window.data == [(5, 12)]
    assert window.file_offset == XORB_BYTES + PIECE_BYTES


@given(SIZES, st.data())
def test_the_terms_cover_what_is_asked_for_and_follow_each_other(
    size: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, min(size, start + 4 * XORB_BYTES)))
    terms = list(terms_of(ByteRange(start, stop), size))
    spans = [
        (
            one.xorb.start + one.first * PIECE_BYTES,
            one.xorb.start + one.first * PIECE_BYTES + one.unpacked_bytes,
        )
        for one in terms
    ]
    assert spans[0][0] <= start < spans[0][0] + PIECE_BYTES
    assert spans[-1][1] >= stop
    assert spans[-1][1] <= size
    for (_, before), (after, _) in itertools.pairwise(spans):
        assert before == after
    for one in terms:
        framed = one.xorb.framed(one.first, one.stop)
        assert framed.size_bytes == one.unpacked_bytes + 8 * (one.stop - one.first)
        assert 0 < one.stop - one.first <= PIECES_A_XORB
        assert framed.stop <= one.xorb.framed_bytes <= 64 * 1024 * 1024


@pytest.mark.parametrize(("version", "key"), [(1, "fetch_info"), (2, "xorbs")])
def test_both_versions_say_the_same(version: int, key: str) -> None:
    """The numbers are those of a recorded download of a 200,000,001 byte file."""
    body = emit_reconstruction(
        ByteRange(131_000_000, 131_300_000),
        200_000_001,
        HASH,
        lambda index: f"http://m/{index}",
        version=version,
    )
    first, second = xorb_hash(HASH, 1), xorb_hash(HASH, 2)
    assert body["offset_into_first_range"] == 131_000_000 % PIECE_BYTES
    assert body["terms"] == [
        {
            "hash": first,
            "unpacked_length": PIECE_BYTES,
            "range": {"start": 499, "end": 500},
        },
        {
            "hash": second,
            "unpacked_length": 2 * PIECE_BYTES,
            "range": {"start": 0, "end": 2},
        },
    ]
    one, two = {"start": 65_408_920, "end": 65_539_999}, {"start": 0, "end": 262_159}
    pieces = {"start": 499, "end": 500}, {"start": 0, "end": 2}
    if version == 1:
        assert body[key] == {
            first: [{"range": pieces[0], "url": "http://m/1", "url_range": one}],
            second: [{"range": pieces[1], "url": "http://m/2", "url_range": two}],
        }
    else:
        assert body[key] == {
            first: [
                {"url": "http://m/1", "ranges": [{"chunks": pieces[0], "bytes": one}]}
            ],
            second: [
                {"url": "http://m/2", "ranges": [{"chunks": pieces[1], "bytes": two}]}
            ],
        }


def test_a_file_has_no_xorb_before_its_first_and_after_its_last() -> None:
    assert xorb_of(XORB_BYTES, 0) == Xorb(0, 0, XORB_BYTES)
    assert xorb_of(XORB_BYTES, 1) is None
    assert xorb_of(XORB_BYTES, -1) is None
    assert xorb_of(0, 0) is None


def test_names_of_xorbs_differ_by_file_and_place() -> None:
    names = {xorb_hash(HASH, 0), xorb_hash(HASH, 1), xorb_hash("cd" * 32, 0)}
    assert len(names) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", name) for name in names)


@pytest.mark.parametrize(
    "text", ["", HASH[:-1], HASH + "0", HASH.upper(), HASH + "\n", "g" * 64, None, 5]
)
def test_what_is_not_64_lower_case_hex_digits_is_no_hash(text: object) -> None:
    assert not is_xet_hash(text)
    assert is_xet_hash(HASH)
