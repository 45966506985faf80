"""What was made last is remembered, and only that."""

from __future__ import annotations

import numpy as np

from engine.matching.lru_cache import LruCache
from features.records import Frame, LocalFeatures


def test_the_last_few_values_are_made_once() -> None:
    made: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return str(key)

    cache = LruCache(make, 2)
    assert [cache(key) for key in (1, 2, 1, 3, 1, 2)] == ["1", "2", "1", "3", "1", "2"]
    assert made == [1, 2, 3, 2], "1 was asked for again before it was the oldest"
    assert len(cache) == 2
    cache.clear()
    assert cache(1) == "1"
    assert made[-1] == 1


def test_several_are_made_at_once_and_no_more_than_are_kept() -> None:
    alone: list[int] = []
    asked: list[list[int]] = []
    cache = LruCache(lambda key: (alone.append(key), str(key))[1], 3)

    def many(keys: list[int]) -> list[str]:
        asked.append(keys)
        return [str(key) for key in keys]

    cache.keep([1, 2, 1], many)
    cache.keep([2, 3, 4, 5, 6], many)
    assert asked == [[1, 2], [3, 4, 5]]
    assert [cache(key) for key in (3, 4, 5)] == ["3", "4", "5"]
    assert alone == [] and len(cache) == 3


def test_features_are_known_by_identity_and_kept_alive() -> None:
    def features() -> LocalFeatures:
        one = np.ones(1, np.float32)
        return LocalFeatures(np.zeros((1, 2), np.float32), one, np.ones((1, 4)), one, one, Frame((9, 9)), "sift")

    made: list[LocalFeatures] = []
    cache = LruCache(lambda f: (made.append(f), len(made))[1], 8, key=id)
    first = features()
    assert cache(first) == cache(first) == 1
    # Were the features not kept, an id could come back with another object.
    assert [cache(features()) for _ in range(5)] == [2, 3, 4, 5, 6]
    assert len(cache) == 6
