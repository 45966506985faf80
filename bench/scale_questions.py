"""A fresh process that opens the files of a large catalogue and answers questions; prints JSON.

``python -m bench.scale_questions FOLDER``: with ``vectors``, ``words`` and ``questions.npz``, as
:mod:`bench.measurements.scale` writes them.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bench.distractors import digests_of
from bench.memory import peak_mib
from engine.matching.exhaustive import DescriptorTable, mutual_nn_scores
from engine.retrieval.vectors import VectorFiles, VectorView
from engine.retrieval.word_index import WordIndex
from engine.search import large
from engine.search.candidates import best_rows

_BEST = 20
_BLOCK = 20_000


def main(folder: Path) -> None:
    """Answer, and print the figures."""
    with np.load(folder / "questions.npz") as parts:
        rows, vectors, codes, bounds, size = (parts[name] for name in ("rows", "vectors", "codes", "bounds", "size"))
    origins = [codes[a:b] for a, b in pairwise(bounds)]
    # Compiled code is loaded, or made, before the clock starts: it is the same for any catalogue.
    mutual_nn_scores(origins[0], DescriptorTable.of(origins[:2]))
    _warm_up(folder)
    started = time.perf_counter()
    digests = digests_of(0, int(size))
    view, words = VectorFiles(folder / "vectors").view(digests), WordIndex(folder / "words").view(digests)
    questions: list[dict[str, Any]] = []
    first = 0.0
    for row, vector in zip(rows, vectors, strict=True):
        questions.append(_answer(view, words, int(row), vector, origins))
        first = first or time.perf_counter() - started
    memory = peak_mib()
    listed = [np.array([int(row), *question["best"]]) for row, question in zip(rows, questions, strict=True)]
    for question, highest in zip(questions, _highest(view, vectors, listed), strict=True):
        question["highest_unlisted"] = [highest]
    print(json.dumps({"first": first, "memory": memory, "questions": questions}))


def _answer(view: VectorView, words: Any, row: int, vector: Any, origins: list[Any]) -> dict[str, Any]:
    allowed = np.ones(len(view), bool)
    allowed[row] = False
    clock = [time.process_time()]
    near = view.nearest(vector, large.BY_COSINE, allowed)
    clock.append(time.process_time())
    votes = words.votes(origins[row], allowed)
    by_words = best_rows(votes.astype(np.float64), votes > 0, large.BY_WORDS)
    chosen = np.union1d(near.rows, by_words)
    clock.append(time.process_time())
    table = DescriptorTable.of([origins[number % len(origins)] for number in chosen])
    mutual_nn_scores(origins[row], table)
    clock.append(time.process_time())
    scan, voting, scored = np.diff(clock).tolist()
    return {
        "scan": scan,
        "words": voting,
        "scored": scored,
        "chosen": len(chosen),
        "exact": near.read,
        "by_words": by_words.tolist(),
        "best": near.rows[:_BEST].tolist(),
        "best_scores": near.scores[:_BEST].tolist(),
    }


def _highest(view: VectorView, vectors: Any, without: list[Any]) -> list[float]:
    """Return each vector's highest product with those that are not named, from all vectors in full."""
    highest = np.full(len(vectors), -np.inf)
    for start in range(0, len(view), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(view)))
        products = view.take(block) @ vectors.T
        for column, named in enumerate(without):
            here = named[(named >= start) & (named < start + len(block))]
            products[here - start, column] = -np.inf
        highest = np.maximum(highest, products.max(axis=0))
    return [float(value) for value in highest]


def _warm_up(folder: Path) -> None:
    """Load the compiled code, on two photographs."""
    digests = digests_of(0, 2)
    view = VectorFiles(folder / "vectors").view(digests)
    both = np.ones(2, bool)
    view.nearest(view.take(np.zeros(1, np.int64))[0], 1, both)
    index = WordIndex(folder / "words")
    assert index.vocabulary is not None
    index.view(digests).votes(np.ones((1, index.vocabulary.numbers), np.int8), both)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
