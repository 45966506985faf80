"""A small memory of what was made last, so that a photograph that comes back soon costs nothing twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from features.records import LocalFeatures

Key = TypeVar("Key")
Made = TypeVar("Made")


class Recent(Generic[Key, Made]):
    """Remembers what ``make`` returned for the keys asked for last.

    Args:
        make: makes the value of a key.
        keep: how many values are kept.
    """

    def __init__(self, make: Callable[[Key], Made], keep: int) -> None:
        self._make = make
        self._keep = keep
        self._values: OrderedDict[Key, Made] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def __call__(self, key: Key) -> Made:
        """Return the value of a key, made now or remembered."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = self._make(key)
        if len(self._values) > self._keep:
            self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


class RecentFeatures(Generic[Made]):
    """The same for what is made of local features, which are known by their identity.

    Args:
        make: makes the value.
        keep: how many values are kept.
    """

    def __init__(self, make: Callable[[LocalFeatures], Made], keep: int) -> None:
        self._make = make
        self._asked: LocalFeatures | None = None
        self._recent: Recent[int, tuple[LocalFeatures, Made]] = Recent(self._with_its_features, keep)

    def _with_its_features(self, _key: int) -> tuple[LocalFeatures, Made]:
        assert self._asked is not None
        # The features are kept beside the value: an id is only unique while its object lives.
        return self._asked, self._make(self._asked)

    def __len__(self) -> int:
        return len(self._recent)

    def __call__(self, features: LocalFeatures) -> Made:
        """Return what was made of these features, now or lately."""
        self._asked = features
        try:
            return self._recent(id(features))[1]
        finally:
            self._asked = None

    def clear(self) -> None:
        """Forget everything."""
        self._recent.clear()
