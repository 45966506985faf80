"""Photographs are found among segments wherever they lie, the oldest of equal ones, in whatever order asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.store.segments import Places, Segment, by_digest, in_order


def segments(digests: np.ndarray, bounds: list[int]) -> list[Segment]:
    return [Segment(Path(), {"digests": part}) for part in np.split(digests, bounds)]


def by_loop(digests: np.ndarray, bounds: list[int], wanted: np.ndarray) -> list[tuple[int, int]]:
    places: dict[tuple[int, ...], tuple[int, int]] = {}
    for number, part in enumerate(np.split(digests, bounds)):
        for row, digest in enumerate(part.tolist()):
            places.setdefault(tuple(digest), (number, row))
    return [places.get(tuple(digest), (-1, 0)) for digest in wanted.tolist()]


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_all_are_found(twice: bool, count: int) -> None:
    rng = np.random.default_rng(count)
    digests = rng.integers(0, 2**63, (count, 2)).astype(np.uint64)
    if twice and count > 1:
        digests[-1] = digests[0]  # several writers may add one
    bounds = [count // 3, count // 2]
    absent = rng.integers(0, 2**63, (5, 2)).astype(np.uint64)
    for wanted in (
        digests,
        digests[: count // 2],
        digests[::-1],
        np.concatenate([absent, digests]),
        absent,
        digests[:0],
    ):
        number, place = Places(segments(digests, bounds)).find(wanted)
        assert list(zip(number.tolist(), place.tolist(), strict=True)) == by_loop(digests, bounds, wanted)


def test_digests_have_one_order() -> None:
    rng = np.random.default_rng(0)
    for most in (4, 2**63):
        digests = rng.integers(0, most, (200, 2)).astype(np.uint64)
        assert by_digest(digests).tolist() == np.lexsort((digests[:, 1], digests[:, 0])).tolist()


def test_order_is_stable() -> None:
    rng = np.random.default_rng(0)
    for most in (5, 2**63):
        numbers = rng.integers(0, most, 500).astype(np.uint64)
        assert in_order(numbers).tolist() == np.argsort(numbers, kind="stable").tolist()
