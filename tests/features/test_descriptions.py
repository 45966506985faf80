"""Descriptions as columns are those of the single records, and vectors are those of the matrices that they lie in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex, _joined
from features.descriptions import Descriptions, KeptVectors
from features.records import Description
from features.store.feature_store import digests_of


@pytest.fixture
def single() -> list[Description]:
    rng = np.random.default_rng(0)
    return [
        Description(
            f"p{row}", f"{row}:top", (30 + row, 40), rng.random(6).astype(np.float32), row, rng.random(), rng.random()
        )
        for row in range(5)
    ]


def columns(items: list[Description]) -> Descriptions:
    """Return descriptions whose vectors lie in two matrices, in no order."""
    matrices = [np.stack([items[row].vector for row in rows]) for rows in ([4, 1], [0, 2, 3])]
    vectors = KeptVectors(matrices, np.array([1, 0, 1, 1, 0]), np.array([0, 1, 1, 2, 0]))
    keys = [item.key for item in items]
    numbers = np.array([item.numbers for item in items])
    return Descriptions([item.image_id for item in items], keys, digests_of(keys), numbers, vectors)


def assert_same(found: Description, expected: Description) -> None:
    assert (found.image_id, found.key, found.size, found.numbers) == (
        expected.image_id,
        expected.key,
        expected.size,
        expected.numbers,
    )
    assert all(isinstance(side, int) for side in found.size)
    np.testing.assert_array_equal(found.vector, expected.vector)


def test_one_at_a_time_they_are_the_records(single: list[Description]) -> None:
    found = columns(single)
    assert len(found) == 5
    for own, expected in zip(found, single, strict=True):
        assert_same(own, expected)
    assert_same(found[-1], single[4])
    assert [item.image_id for item in found[1:4]] == ["p1", "p2", "p3"]
    with pytest.raises(IndexError):
        found[5]


@pytest.mark.parametrize("make", [columns, tuple])
def test_an_index_of_columns_is_one_of_records(single: list[Description], make: Callable[..., object]) -> None:
    table = pd.DataFrame({"image_id": [item.image_id for item in single], "path": "x"})
    index = CatalogIndex(Catalog(table, Path("/nowhere")), make(single))
    assert list(index.keys) == [item.key for item in single]
    np.testing.assert_array_equal(index.digests, digests_of(index.keys))
    np.testing.assert_array_equal(index.vectors, np.stack([item.vector for item in single]))
    np.testing.assert_array_equal(index.numbers, [item.numbers for item in single])
    assert index.contents.tolist() == ["0", "1", "2", "3", "4"]
    rows = np.array([3, 0, 4])
    np.testing.assert_array_equal(index.vectors_of(rows), np.stack([single[row].vector for row in rows]))
    assert index.vectors_of(rows[:0]).shape == (0, 6)
    part = index.take(rows)
    for own, row in zip(part.descriptions, rows, strict=True):
        assert_same(own, single[row])
    assert part.catalog.ids == ["p3", "p0", "p4"]


def test_samples_are_in_the_order_of_contents(single: list[Description]) -> None:
    table = pd.DataFrame({"image_id": ["b", "a", "c"], "path": "x"})
    items = tuple(single[row] for row in (3, 0, 4))
    assert CatalogIndex(Catalog(table, Path("/nowhere")), items).by_content.tolist() == [1, 0, 2]


@pytest.mark.parametrize("letters", ["ab", "0123456789abcdef:"])
def test_the_order_of_contents_is_that_of_texts(letters: str) -> None:
    rng = np.random.default_rng(0)
    keys = ["".join(rng.choice(list(letters), rng.integers(14, 20))) for _ in range(60)]
    keys += [*keys[:5], "", "a" * 16, "a" * 16 + "\0", "a" * 17]
    items = tuple(Description(f"p{row}", key, (1, 1), np.zeros(1, np.float32), 0, 0, 0) for row, key in enumerate(keys))
    table = pd.DataFrame({"image_id": [item.image_id for item in items], "path": "x"})
    found = CatalogIndex(Catalog(table, Path("/nowhere")), items).by_content
    assert found.tolist() == np.argsort(np.array(keys, object), kind="stable").tolist()


def test_photographs_described_alone_take_their_places(single: list[Description]) -> None:
    together = columns([*single[:2], *(single[row] for row in (0, 0)), single[4]])
    own = {2: single[2], 3: single[3]}
    found = _joined(together, own, np.array([0, 2, 3, 4]))
    for one, row in zip(found, (0, 2, 3, 4), strict=True):
        assert one.key == single[row].key
        np.testing.assert_array_equal(one.vector, single[row].vector if row in (2, 3) else together[row].vector)
    np.testing.assert_array_equal(found.digests, digests_of(found.keys))
