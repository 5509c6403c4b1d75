"""Spans are a set of offsets: a set of ints is the model."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.spans import Span, Spans

SIZE = 40
span = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(
    lambda pair: (min(pair), max(pair))
)


def offsets(spans: list[Span]) -> set[int]:
    return {at for start, stop in spans for at in range(start, stop)}


@given(st.lists(span))
def test_they_hold_what_was_added_and_nothing_else(added: list[Span]) -> None:
    spans = Spans(added)

    assert offsets(list(spans)) == offsets(added)
    assert spans.total == len(offsets(added))
    assert spans.end == max(offsets(added), default=-1) + 1


@given(st.lists(span))
def test_they_are_sorted_apart_and_never_empty(added: list[Span]) -> None:
    found = list(Spans(added))

    assert all(start < stop for start, stop in found)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


@given(st.lists(span), st.integers(0, SIZE + 5))
def test_what_is_missing_is_the_rest(added: list[Span], size: int) -> None:
    missing = Spans(added).missing(size)

    assert offsets(missing) == set(range(size)) - offsets(added)
    assert all(start < stop for start, stop in missing)


@given(st.lists(span))
def test_reach_is_the_first_offset_that_is_missing(added: list[Span]) -> None:
    lacking = set(range(SIZE + 1)) - offsets(added)

    assert Spans(added).reach == min(lacking)


@given(st.lists(span).flatmap(lambda added: st.permutations(added).map(list)))
def test_the_order_does_not_matter(added: list[Span]) -> None:
    assert Spans(added) == Spans(sorted(added))


def test_they_change_and_are_no_key() -> None:
    with pytest.raises(TypeError, match="no key"):
        hash(Spans())
    assert Spans() != [(0, 1)]
    assert repr(Spans([(1, 2)])) == "Spans([(1, 2)])"
