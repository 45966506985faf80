"""The inverted file counts what its definition counts, finds photographs that share keypoints, and only grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.matching.exhaustive import Codes, quantise
from engine.retrieval import word_index
from engine.retrieval.vocabulary import Vocabulary, signs
from engine.retrieval.word_index import ASSIGNED, WordIndex

D = 32


def codes_of(descriptors: np.ndarray) -> Codes:
    return quantise((descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)).astype(np.float32))


@pytest.fixture(scope="module")
def photographs() -> list[Codes]:
    """Sixty of 40 keypoints; the last ten share half of theirs with the first ten, noisily."""
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((60, 40, D))
    raw[50:, :20] = raw[:10, :20] + 0.35 * rng.standard_normal((10, 20, D))
    return [codes_of(part) for part in raw]


@pytest.fixture
def filled(photographs: list[Codes], tmp_path: Path) -> tuple[WordIndex, np.ndarray]:
    digests = np.random.default_rng(1).integers(0, 2**64, (60, 2), np.uint64)
    index = WordIndex(tmp_path / "words")
    index.learn(photographs)
    for start, stop in ((0, 30), (30, 55), (55, 60)):
        index.add(digests[start:stop], photographs[start:stop])
    return index, digests


def by_definition(vocabulary: Vocabulary, query: Codes, other: Codes) -> int:
    """The votes of one photograph by loops."""
    words, bits = vocabulary.several(query, ASSIGNED)
    own, kept = vocabulary.nearest(other)
    total = 0
    for i in range(len(query)):
        best = 0
        for a in range(words.shape[1]):
            for j in np.flatnonzero(own == words[i, a]):
                different = sum(bin(int(x) ^ int(y)).count("1") for x, y in zip(bits[i, a], kept[j], strict=True))
                agreement = 1 - 2 * different / D
                if agreement > 0.1:
                    best = max(best, round(10_000 * agreement**2))
        total += best
    return total


@pytest.mark.parametrize("at_once", [3, 1000])
def test_votes_are_those_of_the_definition(filled, photographs: list[Codes], at_once: int, monkeypatch) -> None:
    monkeypatch.setattr(word_index, "_AT_ONCE", at_once)
    index, digests = filled
    assert index.vocabulary is not None and len(index.segments) == 2
    votes = index.view(digests).votes(photographs[3], np.ones(60, bool))
    assert votes.tolist() == [by_definition(index.vocabulary, photographs[3], other) for other in photographs]
    np.testing.assert_array_equal(index.view(digests).votes(photographs[3], np.ones(60, bool), threads=2), votes)


def test_photographs_that_share_keypoints_come_first(filled, photographs: list[Codes]) -> None:
    index, digests = filled
    view = index.view(digests)
    for row in range(10):
        votes = view.votes(photographs[row], np.arange(60) != row)
        assert votes.argmax() == 50 + row
        assert votes[row] == 0


def test_filters_order_copies_and_strangers(filled, photographs: list[Codes]) -> None:
    index, digests = filled
    whole = index.view(digests).votes(photographs[0], np.ones(60, bool))
    rng = np.random.default_rng(2)
    order, allowed = rng.permutation(60), rng.random(60) < 0.5
    found = index.view(digests[order]).votes(photographs[0], allowed)
    np.testing.assert_array_equal(found, np.where(allowed, whole[order], 0))
    twice = index.view(digests[[4, 50, 50, 4]]).votes(photographs[0], np.array([True, False, True, True]))
    assert twice.tolist() == [whole[4], 0, whole[50], whole[4]]
    strange = index.view(np.concatenate([digests[:1], digests[:1] + 1])).votes(photographs[0], np.ones(2, bool))
    assert strange.tolist() == [whole[0], 0]


def test_an_index_stays_as_it_was_when_it_grows(filled, photographs: list[Codes]) -> None:
    index, digests = filled
    before = index.view(digests).votes(photographs[0], np.ones(60, bool))
    index.add(digests[:1] + 1, [photographs[50]])
    again = WordIndex(index.folder)
    assert again.missing(np.concatenate([digests, digests[:2] + 1])).tolist() == [False] * 61 + [True]
    votes = again.view(np.concatenate([digests, digests[:1] + 1])).votes(photographs[0], np.ones(61, bool))
    assert votes.tolist() == [*before, before[50]]


def test_photographs_without_keypoints_and_queries_without(filled, photographs: list[Codes]) -> None:
    index, digests = filled
    index.add(digests[:1] + 1, [np.zeros((0, 1), np.int8)])
    view = index.view(np.concatenate([digests[:1] + 1, digests[:1]]))
    assert view.votes(photographs[0], np.ones(2, bool))[0] == 0
    assert view.votes(np.zeros((0, D), np.int8), np.ones(2, bool)).tolist() == [0, 0]


def test_words_that_are_damaged_are_no_words(filled, photographs: list[Codes]) -> None:
    index, _ = filled
    path = index.folder / "vocabulary.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert WordIndex(index.folder).vocabulary is None and not WordIndex(index.folder).segments
    segments = next(path for path in index.folder.iterdir() if path.is_dir())
    WordIndex(index.folder).learn(photographs[:20])
    assert not segments.exists(), "entries of words that nobody knows any more"
    path.unlink()
    with pytest.raises(ValueError, match="learn the words"):
        WordIndex(index.folder).add(np.zeros((1, 2), np.uint64), photographs[:1])
    with pytest.raises(ValueError, match="no words can be learned"):
        Vocabulary.learned([np.zeros((0, D), np.int8)])


def test_the_nearest_words_come_first(filled, photographs: list[Codes]) -> None:
    vocabulary = filled[0].vocabulary
    assert vocabulary is not None
    words, bits = vocabulary.several(photographs[0], 5)
    count, half = vocabulary.centres.shape[1], D // 2
    descriptor = photographs[0][7].astype(np.float64)
    distance = [
        ((descriptor[:half] - vocabulary.centres[0, word // count]) ** 2).sum()
        + ((descriptor[half:] - vocabulary.centres[1, word % count]) ** 2).sum()
        for word in range(vocabulary.words)
    ]
    assert words[7].tolist() == np.argsort(distance)[:5].tolist()
    first = words[7, 0]
    centre = np.concatenate([vocabulary.centres[0, first // count], vocabulary.centres[1, first % count]])
    np.testing.assert_array_equal(bits[7, 0], signs(descriptor.astype(np.float32) - centre))
    assert signs(np.array([[1.0] * 70]))[0].tolist() == [2**64 - 1, 0b111111 << 2]


def test_of_entries_that_repeat_each_other_the_best_counts(filled, photographs: list[Codes]) -> None:
    index, digests = filled
    assert index.vocabulary is not None
    rng = np.random.default_rng(3)
    repeated = codes_of(photographs[0][:1] + rng.uniform(1, 14, (20, 1)) * rng.standard_normal((20, D)))
    alone = [by_definition(index.vocabulary, photographs[0][:1], repeated[k : k + 1]) for k in range(20)]
    assert np.count_nonzero(alone) > 2, "several agree"
    index.add(digests[:1] + 1, [repeated[np.argsort(alone)]])  # the best comes last
    vote = index.view(digests[:1] + 1).votes(photographs[0][:1], np.ones(1, bool))[0]
    assert vote == max(alone)
