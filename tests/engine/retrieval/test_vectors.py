"""The coded search finds what a search that reads everything finds, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.retrieval import vectors as retrieval_vectors
from engine.retrieval.vectors import VectorFiles, coded, search_code
from features.records import FloatArray
from features.store import segments


def unit(rng: np.random.Generator, count: int, numbers: int = 96) -> FloatArray:
    vectors = rng.standard_normal((count, numbers)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def names(rng: np.random.Generator, count: int) -> segments.Digests:
    return rng.integers(0, 2**64, (count, 2), np.uint64)


def in_order(query: FloatArray, vector: FloatArray) -> np.float32:
    """The product as it is defined: single precision, in order, each step rounded once."""
    total = np.float32(0.0)
    for a, b in zip(query.tolist(), vector.tolist(), strict=True):
        total = np.float32(a * b + float(total))  # the product of two singles is exact in double precision
    return total


@pytest.fixture
def filled(tmp_path: Path) -> tuple[VectorFiles, segments.Digests, FloatArray]:
    rng = np.random.default_rng(0)
    vectors, digests = unit(rng, 300), names(rng, 300)
    vectors[40] = vectors[7]  # a tie
    vectors[41] = 0
    files = VectorFiles(tmp_path / "vectors")
    for part in (slice(0, 220), slice(220, 270), slice(270, 300)):
        files.add(digests[part], vectors[part])
    return files, digests, vectors


@pytest.mark.parametrize("at_once", [7, 16_384])
def test_the_best_are_those_of_a_search_that_reads_everything(filled, at_once: int, monkeypatch) -> None:
    monkeypatch.setattr(retrieval_vectors, "_AT_ONCE", at_once)
    files, digests, vectors = filled
    assert len(files.segments) == 2, "a small segment joins one that is not much larger"
    rng = np.random.default_rng(1)
    order = rng.permutation(300)
    view = files.view(digests[order])
    allowed = rng.random(300) < 0.7
    for threads, query in enumerate([*unit(rng, 3), vectors[7]]):
        exact = np.array([in_order(query, vector) for vector in vectors[order]])
        rows = np.flatnonzero(allowed)
        expected = rows[np.lexsort((rows, -exact[rows]))][:20]
        found = view.nearest(query, 20, allowed, threads)
        assert found.rows.tolist() == expected.tolist()
        np.testing.assert_array_equal(found.scores, exact[expected])
        assert 20 <= found.read < 150, "most are known by their codes alone"
        assert found.mean == pytest.approx(exact[allowed].mean(), abs=1e-3)
        assert found.spread == pytest.approx(exact[allowed].std(), abs=1e-3)
        np.testing.assert_array_equal(view.scores(query, expected), exact[expected])


def test_bounds_hold_for_vectors_of_any_size() -> None:
    rng = np.random.default_rng(2)
    vectors = (rng.standard_normal((50, 64)) * 10.0 ** rng.uniform(-6, 3, (50, 1))).astype(np.float32)
    kept = coded(vectors)
    query = (7 * rng.standard_normal(64)).astype(np.float32)
    codes, scale, left_out = search_code(query)
    near = kept["scale"].astype(float) * scale * (kept["codes"].astype(np.int64) @ codes.astype(np.int64))
    off = np.abs(near - vectors.astype(float) @ query.astype(float))
    assert (off <= kept["norm"] * left_out + kept["rest"] * np.linalg.norm(query.astype(float))).all()
    assert (np.abs(kept["codes"]).max(1) == 127).all()


def test_few_none_and_all(filled) -> None:
    files, digests, vectors = filled
    view = files.view(digests)
    none = view.nearest(vectors[0], 5, np.zeros(300, bool))
    assert (len(none.rows), none.mean, none.spread) == (0, 0.0, 0.0)
    assert len(view.nearest(vectors[0], 500, np.ones(300, bool)).rows) == 300
    assert len(files.view(digests[:0]).nearest(vectors[0], 5, np.ones(0, bool)).rows) == 0
    with pytest.raises(KeyError, match="1 photographs"):
        files.view(np.concatenate([digests[:2], digests[:1] + 1]))
    assert files.missing(np.concatenate([digests[:1], digests[:1] + 1])).tolist() == [False, True]


def test_what_is_not_whole_is_no_segment(filled, tmp_path: Path) -> None:
    files, digests, vectors = filled
    first, last = files.segments
    exact = last.path / "exact.npy"
    assert segments.take_out_damaged(files.folder) == []
    exact.write_bytes(exact.read_bytes()[:-1])
    again = VectorFiles(files.folder)
    assert [segment.path for segment in again.segments] == [first.path]
    assert again.missing(digests).sum() == len(last)
    again.add(digests[again.missing(digests)], vectors[again.missing(digests)])
    assert not VectorFiles(files.folder).missing(digests).any()


def test_a_flipped_bit_is_found_named_and_made_again(filled) -> None:
    files, digests, vectors = filled
    _, last = files.segments
    exact = last.path / "exact.npy"
    data = bytearray(exact.read_bytes())
    data[-5] ^= 1
    exact.write_bytes(data)
    assert segments.take_out_damaged(files.folder) == [exact]
    again = VectorFiles(files.folder)
    missing = again.missing(digests)
    assert missing.sum() == len(last)
    again.add(digests[missing], vectors[missing])
    np.testing.assert_array_equal(again.view(digests).take(np.arange(300)), vectors)
    assert segments.take_out_damaged(files.folder) == []


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = VectorFiles(tmp_path / "vectors")
    monkeypatch.setattr(segments.json, "dumps", lambda _: (_ for _ in ()).throw(OSError("full")))
    rng = np.random.default_rng(0)
    with pytest.raises(OSError, match="full"):
        files.add(names(rng, 3), unit(rng, 3))
    assert list((tmp_path / "vectors").iterdir()) == []


@pytest.mark.parametrize(
    ("lengths", "count"),
    [([], 0), ([100], 1), ([100, 10], 1), ([100, 40, 20, 9], 1), ([100, 40, 20, 15], 4), ([80_000, 60_000], 1)],
)
def test_small_segments_are_joined(lengths: list[int], count: int) -> None:
    assert segments.to_join(lengths) == count
