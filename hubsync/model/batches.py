"""Very many things, some at a time: memory has a size."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
BATCH = 1000


def batched(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """*items* in lists of at most *size*, none of them empty."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
