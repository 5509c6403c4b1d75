"""Keeping what was used last."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lru(Generic[T]):
    """Keeps what was used last, up to a total weight.  For any thread."""

    def __init__(self, weight_max: int, weigh: Callable[[T], int]) -> None:
        self._weight_max, self._weigh = weight_max, weigh
        self._weight = 0
        self._items: OrderedDict[tuple[Hashable, ...], T] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, key: tuple[Hashable, ...]) -> T | None:
        with self._turn:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: tuple[Hashable, ...], value: T) -> None:
        """Keep *value*, unless it alone would throw out most of the others."""
        weight = self._weigh(value)
        with self._turn:
            if key in self._items or weight > self._weight_max // 4:
                return
            self._items[key] = value
            self._weight += weight
            while self._weight > self._weight_max:
                _, dropped = self._items.popitem(last=False)
                self._weight -= self._weigh(dropped)

    def replace(self, key: tuple[Hashable, ...], value: T) -> None:
        """As `put`, also where there is another value."""
        with self._turn:
            if key in self._items:
                self._weight -= self._weigh(self._items.pop(key))
        self.put(key, value)
