"""A fresh process that opens the files of a large catalogue and answers questions; prints JSON.

``python -m bench.scale_questions FOLDER``: with ``vectors``, ``words``, ``keypoints`` and ``questions.npz``, as
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
import numpy.typing as npt

from bench.distractors import LargeFiles, digests_of
from bench.memory import peak_mib
from engine.matching.code_files import CodeFiles
from engine.matching.exhaustive import Codes, DescriptorTable
from engine.matching.pair_pool import score_tables
from engine.retrieval.vectors import VectorFiles, VectorView
from engine.retrieval.word_index import WordIndex
from engine.search import large
from engine.search.candidates import best_rows
from features.store.segments import by_digest

_BEST = 20
_BLOCK = 20_000
#: Photographs that are scored at once.
_SCORED = 200
#: What a query's work goes to.
PARTS = ("vectors", "words", "reading", "scoring")


def open_files(folder: Path) -> LargeFiles:
    """Return the files of a folder."""
    return LargeFiles(VectorFiles(folder / "vectors"), WordIndex(folder / "words"), CodeFiles(folder / "keypoints"))


def main(folder: Path) -> None:
    """Answer, and print the figures."""
    with np.load(folder / "questions.npz") as parts:
        rows, vectors, codes, bounds = (parts[name] for name in ("rows", "vectors", "codes", "bounds"))
        size, full, threads = (int(parts[name]) for name in ("size", "full", "threads"))
    queries = [codes[a:b] for a, b in pairwise(bounds)]
    # Compiled code is loaded, or made, before the clock starts: it is the same for any catalogue.
    _Catalogue(open_files(folder), 2, min(full, 2), threads).answer(0, vectors[0], queries[0])
    started = time.perf_counter()
    catalogue = _Catalogue(open_files(folder), size, min(full, size), threads)
    questions: list[dict[str, Any]] = []
    first = 0.0
    for row, vector, query in zip(rows, vectors, queries, strict=True):
        questions.append(catalogue.answer(int(row), vector, query))
        first = first or time.perf_counter() - started
    memory = peak_mib()
    listed = [np.array([int(row), *question["best"]]) for row, question in zip(rows, questions, strict=True)]
    for question, highest in zip(questions, _highest(catalogue.vectors, vectors, listed), strict=True):
        question["highest_unlisted"] = [highest]
    print(json.dumps({"first": first, "memory": memory, "questions": questions}))


class _Catalogue:
    """A large catalogue's files as :mod:`engine.search.large` asks them."""

    def __init__(self, files: LargeFiles, size: int, full: int, threads: int) -> None:
        self._digests, self._full, self._threads = digests_of(0, size), full, threads
        self.vectors, self._words = files.vectors.view(self._digests), files.words.view(self._digests)
        self._codes = files.codes
        self._sample = by_digest(self._digests)[: large.LOCAL_SAMPLE]

    def answer(self, row: int, vector: Any, codes: Codes) -> dict[str, Any]:
        """Find and score the candidates of a question, with the work of all threads, and by the clock."""
        allowed = np.ones(len(self.vectors), bool)
        allowed[row] = False
        began, work = time.perf_counter(), [time.process_time()]
        near = self.vectors.nearest(vector, large.BY_COSINE, allowed, self._threads)
        work.append(time.process_time())
        votes = self._words.votes(codes, allowed, self._threads)
        by_words = best_rows(votes.astype(np.float64), votes > 0, large.BY_WORDS)
        rows = np.union1d(near.rows, by_words)
        work.append(time.process_time())
        tables = self._read(np.concatenate([rows, self._sample]))
        work.append(time.process_time())
        list(score_tables([(codes, table) for table in tables], self._threads, None))
        work.append(time.process_time())
        clock = time.perf_counter() - began
        return {
            **dict(zip(PARTS, np.diff(work).tolist(), strict=True)),
            "clock": clock,
            "chosen": len(rows),
            "exact": near.read,
            "rows": rows.tolist(),
            "by_words": by_words.tolist(),
            "best": near.rows[:_BEST].tolist(),
            "best_scores": near.scores[:_BEST].tolist(),
        }

    def _read(self, rows: npt.NDArray[np.int64]) -> list[DescriptorTable]:
        # Those without descriptors of their own have those of another.
        digests, found = self._digests[rows % self._full], []
        for start in range(0, len(rows), _SCORED):
            codes = self._codes.take(digests[start : start + _SCORED])
            found.append(DescriptorTable.of([part for part in codes if part is not None]))
        return found


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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
