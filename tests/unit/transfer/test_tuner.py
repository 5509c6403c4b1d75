"""More connections only while they bring more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.transfer.tuner import LANES_FIRST, Tuner


def tuned(lanes_max: int, line: float, each: float = 1.0) -> Tuner:
    """After a file over a *line* that takes so much, *each* connection at most."""
    tuner = Tuner(lanes_max)
    for _ in range(50):
        if tuner.settled:
            break
        tuner.sample(min(tuner.lanes * each, line))
    assert tuner.settled
    return tuner


def test_connections_that_are_slowed_down_one_by_one_become_as_many_as_allowed() -> (
    None
):
    assert tuned(16, line=1000.0).lanes == 16
    assert tuned(64, line=1000.0).lanes == 64


def test_a_line_that_is_full_gets_no_more() -> None:
    assert tuned(64, line=8.0).lanes == LANES_FIRST


def test_they_are_taken_back_when_they_brought_nothing() -> None:
    assert tuned(64, line=12.0).lanes == 12, "8 -> 12 helped, 12 -> 18 did not"


@pytest.mark.parametrize("lanes_max", [1, 2, 7, 8])
def test_there_is_nothing_to_tune_below_the_first_step(lanes_max: int) -> None:
    tuner = Tuner(lanes_max)
    assert tuner.lanes == lanes_max
    assert tuner.settled


@given(st.integers(1, 64), st.lists(st.floats(0, 1e10), max_size=20))
def test_whatever_is_measured_there_is_one_and_never_too_many(
    lanes_max: int, rates: list[float]
) -> None:
    tuner = Tuner(lanes_max)
    for rate in rates:
        tuner.sample(rate)
        assert 1 <= tuner.lanes <= lanes_max


def test_once_settled_it_stays_so() -> None:
    tuner = tuned(64, line=8.0)
    assert tuner.sample(1e9) == LANES_FIRST
