"""What was true a moment ago."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values for a while, and no more than so many.  For one thread."""

    def __init__(
        self, items_max: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._items_max, self._clock = items_max, clock
        self._items: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def now(self) -> float:
        return self._clock()

    def get(self, key: Hashable) -> T | None:
        """What was put, unless its time is over."""
        found = self._items.get(key)
        if found is None:
            return None
        until, value = found
        if self._clock() >= until:
            del self._items[key]
            return None
        self._items.move_to_end(key)
        return value

    def drop(self, is_meant: Callable[[Hashable], bool]) -> None:
        """Forget all whose key is meant.  Looks at each."""
        for key in [key for key in self._items if is_meant(key)]:
            del self._items[key]

    def put(self, key: Hashable, value: T, *, until: float) -> None:
        """Keep *value* until the clock says *until*."""
        self._items[key] = (until, value)
        self._items.move_to_end(key)
        if len(self._items) > self._items_max:
            self._items.popitem(last=False)
