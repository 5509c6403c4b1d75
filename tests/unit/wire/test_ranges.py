"""Ranges and preconditions as RFC 9110 has them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.wire.ranges import (
    ByteRange,
    RangeAnswer,
    content_range,
    matches_any,
    parse_content_range,
    parse_range,
    range_applies,
)

WHOLE, UNSATISFIABLE = RangeAnswer.WHOLE, RangeAnswer.UNSATISFIABLE
HUGE = 2**63


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-499", 0, 500),  # the examples of RFC 9110, 14.1.2
        ("bytes=500-999", 500, 1000),
        ("bytes=-500", 9500, 10_000),
        ("bytes=9500-", 9500, 10_000),
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 10_000),
        ("bytes=9999-9999", 9999, 10_000),
        ("bytes=9999-", 9999, 10_000),
        ("bytes=0-99999", 0, 10_000),
        ("bytes=-99999", 0, 10_000),
        ("bytes=-1", 9999, 10_000),
        ("BYTES=1-2", 1, 3),
        ("  bytes=1-2  ", 1, 3),
        ("bytes=007-008", 7, 9),
        (f"bytes=1-{HUGE}", 1, 10_000),
        ("bytes=1-" + "9" * 5000, 1, 10_000),  # more digits than Python takes
        ("bytes=-" + "9" * 5000, 0, 10_000),
        ("bytes=" + "0" * 5000 + "7-8", 7, 9),
    ],
)
def test_a_single_range_is_honoured(header: str, start: int, stop: int) -> None:
    assert parse_range(header, 10_000) == ByteRange(start, stop)


@pytest.mark.parametrize(
    "header",
    [
        *("bytes=10000-", "bytes=10000-10001", "bytes=-0", f"bytes={HUGE}-"),
        *("bytes=" + "9" * 30 + "-", "bytes=" + "9" * 5000 + "-", "bytes=-" + "0" * 30),
        "bytes=" + "9" * 30 + "-" + "9" * 31,
    ],
    ids=lambda header: header[:40],
)
def test_a_range_beyond_the_end_cannot_be_satisfied(header: str) -> None:
    assert parse_range(header, 10_000) is UNSATISFIABLE


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1-b",
        "bytes=5-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1.0-2",
        "bytes=0x1-2",
        "bytes=1-2-3",
        "bytes=1",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "bytes=1-2;",
        "bytes=1-2\x00",
        "bytes=\N{ARABIC-INDIC DIGIT ONE}-2",
        "bytes=1-\N{SUPERSCRIPT TWO}",
        "bytes=3-" + "0" * 30 + "2",
        "bytes=0-" + "9" * 9000,
    ],
    ids=lambda header: ascii(header)[:40],
)
def test_nonsense_is_answered_with_the_whole(header: str | None) -> None:
    assert parse_range(header, 10_000) is WHOLE


@pytest.mark.parametrize("parts", [2, 100, 10_000, 1_000_000])
def test_a_header_with_many_parts_is_answered_with_the_whole(parts: int) -> None:
    assert parse_range("bytes=" + ",".join(["0-0"] * parts), 10_000) is WHOLE


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-"])
def test_an_empty_file_is_always_sent_whole(header: str) -> None:
    assert parse_range(header, 0) is WHOLE


@given(
    size=st.integers(1, 10**15), one=st.integers(0, 10**15), two=st.integers(0, 10**15)
)
def test_any_range_is_what_slicing_says(size: int, one: int, two: int) -> None:
    start, last = min(one, two), max(one, two)
    answer = parse_range(f"bytes={start}-{last}", size)
    if start >= size:
        assert answer is UNSATISFIABLE
    else:
        assert answer == ByteRange(start, min(last + 1, size))


@given(data=st.binary(min_size=1, max_size=40), count=st.integers(1, 60))
def test_a_suffix_is_what_slicing_says(data: bytes, count: int) -> None:
    answer = parse_range(f"bytes=-{count}", len(data))
    assert isinstance(answer, ByteRange)
    assert data[answer.start : answer.stop] == data[-count:]


@given(
    header=st.text(max_size=40) | st.from_regex(r"bytes=[0-9, -]*"),
    size=st.integers(0, 100),
)
def test_whatever_is_asked_for_lies_within_the_file(header: str, size: int) -> None:
    answer = parse_range(header, size)
    if isinstance(answer, ByteRange):
        assert 0 <= answer.start < answer.stop <= size


@given(
    start=st.integers(0, 10**15),
    length=st.integers(1, 10**15),
    more=st.integers(0, 10**9),
)
def test_a_content_range_reads_back(start: int, length: int, more: int) -> None:
    part, total = ByteRange(start, start + length), start + length + more
    assert part.size_bytes == length
    assert parse_content_range(content_range(part, total)) == (start, part.stop, total)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes 0-499/1234", (0, 500, 1234)),
        ("bytes 42-1233/*", (42, 1234, None)),
        (" bytes 0-0/1 ", (0, 1, 1)),
        ("bytes */1234", None),
        ("bytes 0-499", None),
        ("bytes -1-5/10", None),
        ("items 0-1/2", None),
        ("", None),
        ("bytes 0-" + "9" * 5000 + "/*", None),
    ],
)
def test_a_content_range_is_read_strictly(
    header: str, found: tuple[int, int, int | None] | None
) -> None:
    assert parse_content_range(header) == found


@pytest.mark.parametrize("header", ["bytes 5-3/10", "bytes 0-10/10", "bytes 20-30/10"])
def test_a_content_range_that_contradicts_itself_is_none(header: str) -> None:
    """RFC 9110, 14.4: such a value is invalid."""
    assert parse_content_range(header) is None


def test_the_answer_to_an_unsatisfiable_range_tells_the_size() -> None:
    assert content_range(None, 47_022) == "bytes */47022"


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ('"abc"', True),
        ('W/"abc"', True),
        ('"x", "abc"', True),
        ('"x",W/"abc" ,"y"', True),
        ("*", True),
        (" * ", True),
        (None, False),
        ("", False),
        ('"abcd"', False),
        ('"ABC"', False),
        ('"x", "y"', False),
        ('""', False),
        (",".join(['"x"'] * 10_000) + ',"abc"', False),
    ],
    ids=lambda value: str(value)[:30],
)
def test_if_none_match_compares_weakly(header: str | None, matches: bool) -> None:
    assert matches_any(header, "abc") is matches


@pytest.mark.parametrize(
    ("header", "applies"),
    [
        (None, True),
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"abcd"', False),
        ("abc", False),
        ("", False),
        ("Wed, 21 Oct 2015 07:28:00 GMT", False),
    ],
)
def test_if_range_compares_strongly(header: str | None, applies: bool) -> None:
    assert range_applies(header, "abc") is applies
