"""Scores of a whole catalogue: equal to plain loops, to the bit whatever the product, the block and the company."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.matching import exhaustive
from engine.matching.exhaustive import SCALE, DescriptorTable, mutual_nn_scores, quantise


def unit_vectors(count: int, seed: int, length: int = 128) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, length)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def score_by_loops(query: np.ndarray, other: np.ndarray) -> float:
    """The definition, one keypoint at a time, in double precision."""
    similarity = query.astype(int) @ other.astype(int).T
    total = 0.0
    for i in range(len(query) if len(other) else 0):
        j = max(range(len(other)), key=lambda k, i=i: (similarity[i, k], -k))
        if max(range(len(query)), key=lambda k, j=j: (similarity[k, j], -k)) != i:
            continue
        rivals = [similarity[i, k] for k in range(len(other)) if k != j]
        rivals += [similarity[k, j] for k in range(len(query)) if k != i]
        ratio = 0.0
        if rivals:
            ratio = math.sqrt(max(SCALE**2 - similarity[i, j], 0) / max(SCALE**2 - max(rivals), 1))
        total += max(1 - ratio, 0) ** 2
    return total


@pytest.fixture
def photographs() -> list[np.ndarray]:
    """Codes of photographs of very different numbers of keypoints, some of them the query's own in another order."""
    query = unit_vectors(40, 0)
    rng = np.random.default_rng(1)
    noisy = query[rng.permutation(40)] + 0.1 * unit_vectors(40, 2)
    related = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    sets = [unit_vectors(n, 10 + n) for n in (0, 1, 2, 7, 300, 64, 500)]
    return [quantise(item) for item in (*sets, related, query)]


@pytest.fixture
def query() -> np.ndarray:
    return quantise(unit_vectors(40, 0))


def test_scores_equal_plain_loops(query: np.ndarray, photographs: list[np.ndarray]) -> None:
    scores = mutual_nn_scores(query, DescriptorTable.of(photographs))
    assert scores == pytest.approx([score_by_loops(query, codes) for codes in photographs], rel=1e-5)
    assert scores[0] == 0 and scores[-2] > 5 * scores[-3], "a photograph of the same skin stands out"


def test_a_copy_scores_one_for_every_keypoint(query: np.ndarray) -> None:
    copy = mutual_nn_scores(query, DescriptorTable.of([query]))[0]
    assert copy == pytest.approx(len(query), rel=0.05)


@pytest.mark.parametrize("kind", ["int16", "int8", "float32"])
@pytest.mark.parametrize("columns", [1, 64, 512, 100_000])
def test_neither_product_nor_block_changes_a_bit(
    kind: str, columns: int, query: np.ndarray, photographs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [mutual_nn_scores(query, DescriptorTable.of([codes]))[0] for codes in photographs]
    monkeypatch.setattr(exhaustive, "exact_kind", lambda device: kind)
    monkeypatch.setattr(exhaustive, "_BLOCK_COLUMNS", columns)
    monkeypatch.setattr(exhaustive, "_DEVICE_COLUMNS", columns)
    together = mutual_nn_scores(query, DescriptorTable.of(photographs))
    assert together.tolist() == alone
    assert mutual_nn_scores(query, DescriptorTable.of(photographs[::-1])).tolist() == alone[::-1]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_torch_device_changes_no_bit(device: str, query: np.ndarray, photographs: list[np.ndarray]) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no graphics card that torch can use")
    table, allowed = DescriptorTable.of(photographs), np.arange(len(photographs)) % 3 > 0
    assert exhaustive.exact_kind(device) == "float32"
    np.testing.assert_array_equal(
        mutual_nn_scores(query, table, allowed, device=device), mutual_nn_scores(query, table, allowed)
    )


def test_an_odd_number_of_numbers_is_no_trouble() -> None:
    views = [quantise(unit_vectors(n, n, length=33)) for n in (20, 30)]
    scores = mutual_nn_scores(views[0], DescriptorTable.of(views))
    assert scores == pytest.approx([score_by_loops(views[0], codes) for codes in views], rel=1e-5)


def test_only_allowed_photographs_are_scored_and_as_without_a_filter(
    query: np.ndarray, photographs: list[np.ndarray]
) -> None:
    table = DescriptorTable.of(photographs)
    allowed = np.array([True, False, True, True, False, True, False, True, False])
    scores, every = mutual_nn_scores(query, table, allowed), mutual_nn_scores(query, table)
    assert np.isnan(scores[~allowed]).all()
    assert scores[allowed].tolist() == every[allowed].tolist()


def test_a_few_photographs_of_a_table_score_as_in_it(query: np.ndarray, photographs: list[np.ndarray]) -> None:
    table, rows = DescriptorTable.of(photographs), np.array([4, 0, 4, 2])
    assert np.array_equal(mutual_nn_scores(query, table.take(rows)), mutual_nn_scores(query, table)[rows])
    assert len(table.take(rows[:0])) == 0


def test_equal_neighbours_go_to_the_first_and_score_nothing() -> None:
    one = quantise(unit_vectors(1, 3))
    twice = np.concatenate([one, one])
    assert mutual_nn_scores(one, DescriptorTable.of([twice]))[0] == 0, "the ratio of equal neighbours is 1"
    assert mutual_nn_scores(one, DescriptorTable.of([one]))[0] == 1, "without a second the ratio is 0"


def test_a_query_without_keypoints_scores_zero(photographs: list[np.ndarray]) -> None:
    scores = mutual_nn_scores(np.zeros((0, 128), np.int8), DescriptorTable.of(photographs))
    assert scores.tolist() == [0.0] * len(photographs)


def test_more_keypoints_than_an_index_can_name_are_refused(query: np.ndarray) -> None:
    many = np.zeros((exhaustive.MAX_KEYPOINTS + 1, 128), np.int8)
    with pytest.raises(ValueError, match="1025 keypoints"):
        mutual_nn_scores(query, DescriptorTable.of([many]))
    with pytest.raises(ValueError, match="not exact"):
        quantise(np.zeros((1, 1001), np.float32))
