"""A small memory of what was made last, so that a photograph that comes back soon costs nothing twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from features.records import LocalFeatures

Asked = TypeVar("Asked")
Made = TypeVar("Made")


class Recent(Generic[Asked, Made]):
    """Remembers what ``make`` returned for what was asked for last.

    Args:
        make: makes the value of what is asked for.
        keep: how many values are kept.
    """

    def __init__(self, make: Callable[[Asked], Made], keep: int) -> None:
        self._make = make
        self._keep = keep
        self._values: OrderedDict[Hashable, tuple[Asked, Made]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __call__(self, asked: Asked) -> Made:
        """Return the value of what is asked for, made now or remembered."""
        key = self._key(asked)
        if key not in self._values:
            # What was asked for is kept beside the value: an id is only unique while its object lives.
            self._values[key] = asked, self._make(asked)
            if len(self._values) > self._keep:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key][1]

    def _key(self, asked: Asked) -> Hashable:
        return asked

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


class RecentFeatures(Recent[LocalFeatures, Made]):
    """The same for what is made of local features, which are known by their identity."""

    def _key(self, asked: LocalFeatures) -> Hashable:
        return id(asked)
