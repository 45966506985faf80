"""A small memory of what was made last, so that a photograph that comes back soon costs nothing twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def _itself(item: Hashable) -> Hashable:
    return item


class LruCache(Generic[Item, Value]):
    """Remembers what ``make`` returned for the items that were used last.

    Unlike :func:`functools.lru_cache` it belongs to one object, and its items may be known by another key than their
    own hash: records of arrays by their identity (``key=id``).

    Args:
        make: makes the value of an item.
        size: how many values are kept.
        key: what an item is known by; by default the item itself.
    """

    def __init__(self, make: Callable[[Item], Value], size: int, key: Callable[[Item], Hashable] = _itself) -> None:
        self._make = make
        self._size = size
        self._key = key
        self._values: OrderedDict[Hashable, tuple[Item, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __call__(self, item: Item) -> Value:
        """Return the value of an item, made now or remembered."""
        key = self._key(item)
        if key not in self._values:
            # The item is kept beside the value: an id is only unique while its object lives.
            self._values[key] = item, self._make(item)
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key][1]

    def keep(self, items: Sequence[Item], make_many: Callable[[list[Item]], Iterable[Value]]) -> None:
        """Make the values of several items at once, of those that are not remembered; no more than are kept."""
        fresh = [item for item in dict.fromkeys(items) if self._key(item) not in self._values][: self._size]
        for item, value in zip(fresh, make_many(fresh), strict=True):
            self._values[self._key(item)] = item, value
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
