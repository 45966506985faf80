"""What does a large catalogue cost? A query's candidates among ten thousand, a hundred thousand and a million.

The described photographs of a catalogue are made many by distractors (bench/distractors.py says how real features are
jittered). Global vectors and the keypoints' words are written as the product writes them beside its store, and asked in
a fresh process, which opens the files and answers questions: "first" is opening and the first question, "a query" the
median of the others. Its candidates are those that :mod:`engine.search.large` has scored by keypoints; scoring reads
the keypoints of origins from memory, and "reading" adds what so many records take from the store. Memory is the
process's highest, with the pages of files that it mapped. Files were written a moment before, so that they are in the
system's cache where they fit.

"As in the small catalogue" are the questions whose best 20 by cosine are those of the real photographs alone, but for
distractors whose cosine is truly higher (all are multiplied in full to see that). "Still chosen" is the share of the
best 20 of the exhaustive search by keypoints among the real photographs that the words alone still choose. The slopes
are of the logarithms: 1 grows as the catalogue does. Most of that search's best 20 are impostors that agree by chance.

The model of cost is made of what was measured: seconds to describe a photograph on one core, bytes of store and files
a photograph, bytes read of photographs, and a query's time and the bytes it reads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import markdown
from bench.child_process import environment
from bench.context import Context
from bench.distractors import Origins, digests_of
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.index import refs_of
from engine.matching.exhaustive import DescriptorTable, mutual_nn_scores
from engine.matching.pair_worker import PairWorker
from engine.retrieval.vectors import VectorFiles
from engine.retrieval.word_index import WordIndex
from engine.search.large import BY_WORDS
from engine.workers import single_thread
from features.describe import Describer
from features.records import FloatArray
from features.store import FeatureStore

#: Photographs of the catalogues.
_SIZES = (10_000, 100_000, 1_000_000)
#: Photographs that are added to each catalogue, and described anew for their time.
_ADDED, _DESCRIBED = 1000, 8
_BEST = 20
#: Depths of the words' lists at which their recall is told.
_DEPTHS = (20, 50, 100, 200, 400)
#: Catalogues that the model of cost is of.
_MODEL = (1_000_000, 100_000_000)


@dataclass(frozen=True)
class SizeFigures:
    """One size of catalogue.

    Attributes:
        vector_bytes, word_bytes: of the files.
        first, query: seconds of opening and the first question, and of a further one.
        scan, words, scored, reading: what a query's seconds go to.
        chosen, exact: photographs that are scored by keypoints, and vectors that were read in full.
        memory: MiB.
        adding: seconds that 1,000 further photographs take in the files, without their description.
        same: questions whose best by cosine are as in the small catalogue, or came after a truly higher cosine.
        still: share of the exhaustive search's best that words still choose.
    """

    vector_bytes: int
    word_bytes: int
    first: float
    query: float
    scan: float
    words: float
    scored: float
    reading: float
    chosen: float
    exact: float
    memory: float
    adding: float
    same: int
    still: float


@dataclass(frozen=True)
class ScaleFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        real, questions: described photographs, and questions asked.
        sizes: by number of photographs.
        recall: share of the exhaustive search's best 20 among the first so many by words, of the real photographs.
        describing: seconds of one core a photograph. photo_bytes, store_bytes: of a photograph, and of its records.
    """

    real: int
    questions: int
    sizes: dict[str, SizeFigures]
    recall: dict[str, float]
    describing: float
    photo_bytes: float
    store_bytes: float

    def slopes(self) -> dict[str, float]:
        """Return how time, memory and files grow with the catalogue, as powers of its size."""
        sizes = np.log([float(size) for size in self.sizes])
        if len(sizes) < 2:
            return {}
        parts = self.sizes.values()
        of = {"query": [part.query for part in parts], "vectors and words": [part.scan + part.words for part in parts]}
        of["memory"] = [part.memory for part in parts]
        of["files"] = [float(part.vector_bytes + part.word_bytes) for part in self.sizes.values()]
        return {name: float(np.polyfit(sizes, np.log(values), 1)[0]) for name, values in of.items()}


def measure(context: Context) -> ScaleFigures:
    """Make the catalogue larger step by step, and ask the same questions of each."""
    index, options = context.index, context.options
    pool = context.matcher.pair_pool(context.store)
    keys = [item.key for item in index.descriptions]
    context.say(f"keypoints of {len(index):,} photographs")
    origins = Origins(index.vectors, pool.codes(keys), context.seed)
    chosen = np.random.default_rng(context.seed).permutation(len(index))[: context.queries]
    exhaustive = DescriptorTable.of(list(origins.codes))
    local = [mutual_nn_scores(origins.codes[row], exhaustive, np.arange(len(index)) != row) for row in chosen]
    record = _seconds_of_a_record(pool.worker, keys)
    sizes: dict[str, SizeFigures] = {}
    with tempfile.TemporaryDirectory(prefix="scarmatch-scale-", dir=options.work) as name:
        folder = Path(name)
        files, words = VectorFiles(folder / "vectors"), WordIndex(folder / "words")
        words.learn(origins.codes)
        there = 0
        for size in options.sizes or _SIZES:
            context.say(f"{size:,} photographs")
            origins.grow(files, words, there, size - _ADDED)
            started = time.process_time()
            origins.grow(files, words, size - _ADDED, size)
            adding, there = time.process_time() - started, size
            part = sizes[str(size)] = _ask(folder, origins, chosen, size, local, record, adding)
            context.say(f"a query {markdown.seconds(part.query)} ({spent(part)}), {part.memory:,.0f} MiB")
        recall = _recall(WordIndex(folder / "words"), origins, chosen, local)
    described, photo_bytes, store_bytes = _describing(context)
    return ScaleFigures(len(index), len(chosen), sizes, recall, described, photo_bytes, store_bytes)


def _ask(
    folder: Path,
    origins: Origins,
    chosen: npt.NDArray[np.int64],
    size: int,
    local: list[FloatArray],
    record: float,
    adding: float,
) -> SizeFigures:
    """Let a fresh process ask; see in full whether it was right."""
    bounds = np.cumsum([0, *map(len, origins.codes)])
    np.savez(
        folder / "questions.npz",
        rows=chosen,
        vectors=origins.vectors[chosen],
        codes=np.concatenate(list(origins.codes)),
        bounds=bounds,
        size=size,
    )
    command = [sys.executable, "-m", "bench.scale_questions", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    answers = json.loads(done.stdout)
    same, still = 0, []
    for row, scores, answer in zip(chosen, local, answers["questions"], strict=True):
        best = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[:_BEST]
        still.append(np.isin(best, answer["by_words"]).mean())
        same += _as_alone(origins, int(row), answer)
    medians = {
        name: float(np.median([answer[name] for answer in answers["questions"][1:] or answers["questions"]]))
        for name in ("scan", "words", "scored", "chosen", "exact")
    }
    reading = record * medians["chosen"]
    total = medians["scan"] + medians["words"] + medians["scored"] + reading
    return SizeFigures(
        vector_bytes=_bytes(folder / "vectors"),
        word_bytes=_bytes(folder / "words"),
        first=answers["first"],
        query=total,
        reading=reading,
        memory=answers["memory"],
        adding=adding,
        same=same,
        still=float(np.mean(still)),
        **medians,
    )


def _as_alone(origins: Origins, row: int, answer: Mapping[str, list[float]]) -> bool:
    """Say whether a list by cosine is the small catalogue's but for distractors that truly come before."""
    cosine = origins.vectors.astype(np.float64) @ origins.vectors[row].astype(np.float64)
    cosine[row] = -np.inf
    alone = [int(k) for k in np.argsort(-cosine, kind="stable")[:_BEST]]
    listed, scores = [int(k) for k in answer["best"]], answer["best_scores"]
    real = [k for k in listed if k < len(origins)]
    if real != alone[: len(real)]:
        return False
    # Everybody who is not listed is truly no better than the last who is; the process multiplied all in full.
    return answer["highest_unlisted"][0] <= scores[-1] + 1e-6


def _recall(
    words: WordIndex, origins: Origins, chosen: npt.NDArray[np.int64], local: list[FloatArray]
) -> dict[str, float]:
    """Return the share of the exhaustive search's best among the first by words, of the real photographs."""
    view = words.view(digests_of(0, len(origins)))
    found: dict[int, list[float]] = {depth: [] for depth in _DEPTHS}
    for row, scores in zip(chosen, local, strict=True):
        votes = view.votes(origins.codes[row], np.arange(len(origins)) != row)
        order = np.argsort(-votes, kind="stable")
        best = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[:_BEST]
        for depth, shares in found.items():
            shares.append(float(np.isin(best, order[:depth]).mean()))
    return {str(depth): float(np.mean(shares)) for depth, shares in found.items()}


def _seconds_of_a_record(worker: PairWorker, keys: list[str]) -> float:
    """Return the seconds that one photograph's keypoints take from the store."""
    some = keys[:200]
    worker.codes(some[0])  # loads what the store's keys are made of
    started = time.process_time()
    for key in some:
        worker.codes(key)
    return (time.process_time() - started) / len(some)


def _describing(context: Context) -> tuple[float, float, float]:
    """Describe a few photographs anew: seconds of one core, bytes of a file, and of its records in the store."""
    refs = refs_of(context.catalog)[: _DESCRIBED + Describer.BATCH]
    with tempfile.TemporaryDirectory(prefix="scarmatch-scale-") as name, single_thread():
        store = FeatureStore(name)
        describer = Describer(context.settings.describe, store)
        warm, timed = refs[: Describer.BATCH], refs[Describer.BATCH :] or refs
        list(describer.describe(warm))
        before, started = store.size().bytes, time.process_time()
        list(describer.describe(timed))
        spent, grown = time.process_time() - started, store.size().bytes - before
    photo_bytes = float(np.mean([ref.path.stat().st_size for ref in timed]))
    return spent / len(timed), photo_bytes, (grown or before) / len(timed)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def full(result: Result[ScaleFigures]) -> str:
    """Return the table of sizes, recall of the words, and the model of cost."""
    figures, rows = result.figures, []
    for size, part in figures.sizes.items():
        rows.append(
            [
                f"{int(size):,}",
                f"{markdown.seconds(part.query)} ({spent(part)})",
                markdown.seconds(part.first),
                f"{part.memory / 1024:.2f} GiB",
                f"{part.vector_bytes / 1e9:.2f} + {part.word_bytes / 1e9:.2f} GB",
                f"{part.chosen:,.0f}; {part.exact:,.0f}",
                markdown.seconds(part.adding),
                f"{part.same} of {figures.questions}",
                f"{part.still:.3f}",
            ]
        )
    heads = [
        "photographs",
        "a query's candidates",
        "first",
        "memory",
        "vectors + words",
        "scored by keypoints; read in full",
        "adding 1,000",
        "as in the small catalogue",
        f"still chosen by {BY_WORDS:,} words' best",
    ]
    slopes = figures.slopes()
    grown = ", ".join(f"{name} {value:.2f}" for name, value in slopes.items())
    recall = ", ".join(f"{value:.3f} in {depth}" for depth, value in figures.recall.items())
    text = [
        markdown.table(heads, rows),
        f"Slopes: {grown}." if grown else "",
        f"Of the best {_BEST} that the exhaustive search finds among {figures.real:,} real photographs, words have "
        f"{recall} ({figures.questions} questions). {result.cpu}.",
        cost(figures),
    ]
    return "\n\n".join(part for part in text if part)


def spent(part: SizeFigures) -> str:
    """Return what a query's time goes to."""
    times = (("vectors", part.scan), ("words", part.words), ("scoring", part.scored), ("reading", part.reading))
    return ", ".join(f"{name} {markdown.seconds(value)}" for name, value in times)


def cost(figures: ScaleFigures) -> str:
    """Return the model of cost, from the largest catalogue measured."""
    size, part = list(figures.sizes.items())[-1]
    files = (part.vector_bytes + part.word_bytes) / int(size)
    rows = [
        [
            f"{count:,}",
            f"{count * figures.describing / 3600:,.0f} core hours",
            f"{count * figures.photo_bytes / 1e12:,.2f} TB",
            f"{count * figures.store_bytes / 1e12:,.2f} TB",
            f"{count * files / 1e12:,.2f} TB",
            markdown.seconds(part.scored + part.reading + (part.scan + part.words) * count / int(size)),
        ]
        for count in _MODEL
    ]
    heads = [
        "photographs",
        "describing them",
        "photographs read",
        "records in the store",
        "vectors and words",
        "a query's candidates on one core",
    ]
    return (
        f"Model of cost: {figures.describing:.2f} s of one core, {figures.photo_bytes / 1e6:.2f} MB of photograph and "
        f"{figures.store_bytes / 1e3:.0f} KB of records each. Of a query, vectors and words grow with the "
        "catalogue; scoring and reading do not.\n\n" + markdown.table(heads, rows)
    )


def plot(figures: ScaleFigures, path: Path) -> None:
    """Draw time and memory over the number of photographs."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(8, 3.2), layout="constrained")
    sizes, parts = [int(size) for size in figures.sizes], list(figures.sizes.values())
    slopes = figures.slopes()
    left, right = picture.subplots(1, 2)
    for name, values in (
        ("a query's candidates", [part.query for part in parts]),
        ("vectors", [part.scan for part in parts]),
        ("words", [part.words for part in parts]),
        ("first question", [part.first for part in parts]),
    ):
        left.plot(sizes, values, marker="o", label=name)
    left.set(xlabel="photographs", ylabel="seconds", title=f"time (slope {slopes.get('query', float('nan')):.2f})")
    right.plot(sizes, [part.memory / 1024 for part in parts], marker="o", label="memory")
    right.plot(sizes, [(part.vector_bytes + part.word_bytes) / 2**30 for part in parts], marker="o", label="files")
    right.set(xlabel="photographs", ylabel="GiB", title=f"memory (slope {slopes.get('memory', float('nan')):.2f})")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.legend(frameon=False, fontsize=8)
        axes.grid(alpha=0.3)
    picture.savefig(path, dpi=130)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument(
        "--sizes",
        action="append",
        type=int,
        metavar="N",
        help=f"photographs; give it several times, rising ({', '.join(map(str, _SIZES))}: 16 GB of disk while it runs)",
    )
    parser.add_argument("--work", type=Path, help="folder for the files of large catalogues (the system's)")


MEASUREMENT = Measurement(
    title="Large catalogues",
    figures=ScaleFigures,
    measure=measure,
    full=full,
    short=full,
    plot=plot,
    add_options=add_options,
    queries=20,
)
