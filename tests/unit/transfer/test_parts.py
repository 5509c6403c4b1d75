"""Parts cover what is missing, once."""

from hypothesis import given
from hypothesis import strategies as st

from hubsync.model.spans import Span, Spans
from hubsync.transfer.parts import Parts, clipped

spans = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 900)).map(
        lambda pair: (pair[0], pair[0] + pair[1])
    )
).map(lambda some: list(Spans(some)))


def drained(parts: Parts, lanes: int) -> list[Span]:
    found = []
    while (span := parts.take(lanes)) is not None:
        found.append(span)
    return found


@given(spans, st.integers(1, 50), st.integers(0, 500), st.integers(1, 16))
def test_all_that_is_missing_is_taken_once_and_in_order(
    missing: list[Span], least: int, more: int, lanes: int
) -> None:
    parts = Parts(missing, bytes_min=least, bytes_max=least + more)
    taken = drained(parts, lanes)

    assert taken == sorted(taken)
    assert sum(stop - start for start, stop in taken) == Spans(missing).total
    assert Spans(taken) == Spans(missing)
    assert not parts
    assert parts.bytes_left == 0
    # The last one of a span takes along what would be too little for one more.
    assert all(stop - start < 2 * least + more for start, stop in taken)


@given(spans, st.integers(1, 16), st.data())
def test_what_is_given_back_is_taken_again(
    missing: list[Span], lanes: int, data: st.DataObject
) -> None:
    parts = Parts(missing, bytes_min=10, bytes_max=300)
    got = Spans()
    for _ in range(100):
        span = parts.take(lanes)
        if span is None:
            break
        start, stop = span
        came = data.draw(st.integers(start, stop))
        got.add(start, came)
        parts.give_back(clipped([(came, stop)], span))
    for start, stop in drained(parts, lanes):
        got.add(start, stop)

    assert got == Spans(missing)


def test_the_last_ones_are_small_so_that_all_lanes_end_together() -> None:
    taken = drained(Parts([(0, 10_000)], bytes_min=50, bytes_max=1000), 4)
    sizes = [stop - start for start, stop in taken]
    largest = sizes.index(max(sizes))

    assert sizes[largest:-1] == sorted(sizes[largest:-1], reverse=True)
    assert 50 <= min(sizes[largest:]) <= max(sizes[-4:]) < 100


def test_the_first_ones_are_small_so_that_the_hash_need_not_wait() -> None:
    taken = drained(Parts([(0, 100_000)], bytes_min=50, bytes_max=800), 2)
    sizes = [stop - start for start, stop in taken]

    assert sizes[:9] == [100, 100, 200, 200, 400, 400, 800, 800, 800]


@given(spans, st.tuples(st.integers(0, 5000), st.integers(0, 900)))
def test_clipping_is_cutting_with_one_span(
    some: list[Span], within: tuple[int, int]
) -> None:
    low, high = within[0], within[0] + within[1]
    left = Spans(some).missing(6000)
    outside = Spans([*left, (0, low), (high, 6000)])

    assert Spans(clipped(some, (low, high))) == Spans(outside.missing(6000))
