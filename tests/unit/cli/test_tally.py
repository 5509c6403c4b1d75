"""Sums, speeds and times of a transfer."""

import pytest

from hubsync.cli.tally import Tally, format_seconds

MB = 10**6


def test_a_rate_is_of_what_came_in_this_run() -> None:
    tally = Tally(files=1, size_bytes=100 * MB)
    tally.rate(0.0)
    tally.started("a", 100 * MB, 40 * MB)
    tally.advanced("a", 20 * MB)
    rate = tally.rate(2.0)
    assert rate == 10 * MB, "what an earlier run left is no speed of this one"
    assert tally.eta_s(rate) == 4.0
    assert Tally(files=1, size_bytes=5).eta_s(None) is None


def test_the_rate_forgets_what_was_long_ago() -> None:
    tally = Tally(files=1, size_bytes=1000 * MB)
    tally.started("a", 1000 * MB, 0)
    rate = None
    for second in range(20):
        tally.advanced("a", MB if second < 10 else 3 * MB)
        rate = tally.rate(float(second))
    assert rate == 3 * MB


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.2, "8 s"), (200, "3:20"), (7400, "2:03:20")]
)
def test_seconds_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_a_speed_falls_to_nothing_when_nothing_comes() -> None:
    tally = Tally(files=1, size_bytes=100 * MB)
    assert tally.rate(0.0) is None, "nothing has come yet"
    tally.advanced("a", 10 * MB)
    assert tally.rate(1.0) == 10 * MB
    rates = [tally.rate(float(second)) for second in range(2, 12)]
    assert rates[-1] == 0
    assert tally.eta_s(rates[-1]) is None


def test_the_largest_in_flight_come_first_and_equals_by_name() -> None:
    tally = Tally(files=9, size_bytes=100)
    for path, size in (("z", 5), ("b", 9), ("small", 1), ("a", 5), ("gone", 50)):
        tally.started(path, size, 0)
    tally.done("gone")
    assert tally.largest(3, least_bytes=2) == ["b", "a", "z"]
    assert tally.largest(9) == ["b", "a", "z", "small"]
    assert tally.largest(0) == []


def test_bytes_that_had_to_be_dropped_are_counted_off() -> None:
    tally = Tally(files=1, size_bytes=100)
    tally.started("a", 100, 30)
    tally.advanced("a", 50)
    tally.advanced("a", -80)
    assert tally.arrived == 0
    assert tally.in_flight["a"].there == 0
