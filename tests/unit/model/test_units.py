"""Sizes, rates and durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.units import (
    InvalidUnitError,
    format_duration,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        (1024, 1024),
        ("1B", 1),
        ("500MB", 500_000_000),
        ("64MiB", 64 * 2**20),
        ("64 mib", 64 * 2**20),
        (" 20GiB ", 20 * 2**30),
        ("1.5GB", 1_500_000_000),
        ("0.5kib", 512),
        ("3TB", 3 * 10**12),
        ("1TiB", 2**40),
    ],
)
def test_a_size_is_read_in_powers_of_1000_or_1024(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MB", "-1", "1 2", "1e3", "1PB", "12M", "1,5GB", "nan", "inf", "1MB/s"]
)
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidUnitError) as caught:
        parse_size(text)
    assert "MiB" in str(caught.value.hint)


def test_what_is_no_rate_is_not_called_a_size() -> None:
    with pytest.raises(InvalidUnitError, match="not a rate: 'fast'") as caught:
        parse_rate("fast")
    assert "50MB/s" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (0.25, "0.25s"), (1e-05, "0.00001s"), (30.0, "30s")),
        *((600.0, "10m"), (5400.0, "90m"), (3600.0, "1h"), (86400.0, "1d")),
        (604800.0, "1w"),
    ],
)
def test_a_duration_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e12) | st.integers(0, 10**9).map(float))
def test_a_duration_that_is_shown_can_be_read(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["50MB/s", "50MB", "50000000", 50_000_000])
def test_a_rate_is_a_size_each_second(text: str | int) -> None:
    assert parse_rate(text) == 50_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("6h", 21600),
        ("14d", 1209600),
        ("1w", 604800),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("0", 0),
        (0, 0),
        ("2 H", 7200),
    ],
)
def test_a_duration_is_read_in_its_unit(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1y", "1h30m", "1:30", "soon"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidUnitError) as caught:
        parse_duration(text)
    assert "6h" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["5", 5, 0.5, "12.5", " 3 "])
def test_a_duration_without_a_unit_is_refused_with_the_ones_there_are(
    text: str | float,
) -> None:
    with pytest.raises(InvalidUnitError, match="has no unit") as caught:
        parse_duration(text)
    number = str(text).strip()
    for unit in "smhdw":
        assert f"{number}{unit}" in str(caught.value.hint)


@given(size=st.integers(0, 2**60))
def test_plain_bytes_are_read_exactly(size: int) -> None:
    assert parse_size(size) == size
    assert parse_size(f"{size}B") == size


@given(size=st.integers(0, 10**13))
def test_a_printed_size_reads_back_to_within_its_last_digit(size: int) -> None:
    text = format_size(size)
    assert abs(parse_size(text) - size) <= max(
        0.051 * 10 ** (3 * (len(str(size)) // 3)), 0
    )
    assert len(text) <= 9


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (90_900_000, "90.9 MB"),
        (10**12, "1.00 TB"),
    ],
)
def test_a_size_is_printed_as_file_managers_do(size: int, text: str) -> None:
    assert format_size(size) == text
