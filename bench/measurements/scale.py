"""What does a large catalogue cost? A query's candidates among ten thousand, a hundred thousand and a million.

The described photographs of a catalogue are made many by distractors (bench/distractors.py says how real features are
jittered). Global vectors, the keypoints' words, and the descriptors of the first so many are written as the product
writes them beside its store, and asked in a fresh process, which opens the files and answers questions: "first" is
opening and the first question by the clock, "a query" the median of the others: the work of its threads in seconds of
all cores, which other programs hardly change, and by the clock, which they do.
Its candidates are those that :mod:`engine.search.large` has scored by keypoints, with the sample that tells what an
impostor's score is; photographs without descriptors of their own have those of another. Memory is the process's
highest, with the pages of files that it has mapped at a time. Files were written a moment before, so that they are in
the system's cache where they fit.

"As in the small catalogue" are the questions whose best 20 by cosine are those of the real photographs alone, but for
distractors whose cosine is truly higher (all are multiplied in full to see that). "Of the small catalogue's best" is
the share of its best 20 by cosine and keypoints together, every photograph scored, that are scored in the large one
too: they keep their order there, and give way to nobody but a distractor that scores higher. The rest was not chosen.

"True matches" are pairs of a question and another photograph of its individual that a search by keypoints which scores
everybody would have among its best 200 of that size. How many distractors score higher than such a pair is counted in a
sample of them and multiplied, as they are all made alike. The share is of those that the words alone choose. The slopes
are of the logarithms: 1 grows as the catalogue does.

The model of cost is made of what was measured: seconds to describe a photograph on one core, bytes of store and files
a photograph, bytes read of photographs, and a query's work. With ``--efficiency`` tasks run on a dask cluster of one,
two and four processes of this machine; each computes for a while and waits, as for a network, for a longer while.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import markdown
from bench.child_process import environment
from bench.cluster_tasks import COMPUTES, WAITS, efficiency
from bench.context import Context
from bench.distractors import LargeFiles, Origins, digests_of
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from bench.scale_questions import PARTS, open_files
from engine.catalogue.index import CatalogIndex, refs_of
from engine.matching.exhaustive import DescriptorTable
from engine.matching.pair_pool import score_tables
from engine.search.candidates import ScoredDatabase
from engine.search.large import BY_WORDS
from engine.workers import default_workers, single_thread
from features.describe import Describer
from features.records import BoolArray, FloatArray
from features.store import FeatureStore

#: Photographs of the catalogues.
_SIZES = (10_000, 100_000, 1_000_000)
#: Photographs that are added to each catalogue, and described anew for their time.
_ADDED, _DESCRIBED = 1000, 8
_BEST = 20
#: A true match that keypoints find is among so many of a search that scores everybody: a list's length.
_LISTED = 200
#: Distractors that are scored in full, and photographs that have descriptors, unless options say otherwise.
_SAMPLED, _FULL = 8192, 100_000
#: Catalogues that the model of cost is of.
_MODEL = (1_000_000, 100_000_000)


@dataclass(frozen=True)
class SizeFigures:
    """One size of catalogue.

    Attributes:
        vector_bytes, word_bytes: of the files.
        first, query: seconds of opening and the first question, and of a further one, by the clock.
        parts: what a query's work goes to: seconds of all cores together.
        chosen, exact: photographs that are scored by keypoints, and vectors that were read in full.
        memory: MiB.
        adding: seconds that 1,000 further photographs take in the files, without their description.
        building: seconds of one core that made the files of all photographs since the size before.
        same: questions whose best by cosine are as in the small catalogue, or came after a truly higher cosine.
        kept: share of the small catalogue's best that are scored.
        true_matches: that a search which scores everybody would list. found: share of them that words choose.
        found_by_either: by words or cosine.
    """

    vector_bytes: int
    word_bytes: int
    first: float
    query: float
    parts: dict[str, float]
    chosen: float
    exact: float
    memory: float
    adding: float
    building: float
    same: int
    kept: float
    true_matches: int
    found: float
    found_by_either: float

    @property
    def work(self) -> float:
        """Seconds of all cores that a query's candidates take."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class ScaleFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        real, questions: described photographs, and questions asked. threads: of a question.
        full: photographs that have descriptors of their own.
        code_bytes: of one photograph's descriptors.
        sizes: by number of photographs.
        describing: seconds of one core a photograph. photo_bytes, store_bytes: of a photograph, and of its records.
        efficiency: of so many worker processes: one's time over their time and number. Empty where nobody asked.
    """

    real: int
    questions: int
    threads: int
    full: int
    code_bytes: float
    sizes: dict[str, SizeFigures]
    describing: float
    photo_bytes: float
    store_bytes: float
    efficiency: dict[str, float]

    def slopes(self) -> dict[str, float]:
        """Return how time, memory and files grow with the catalogue, as powers of its size."""
        sizes = np.log([float(size) for size in self.sizes])
        if len(sizes) < 2:
            return {}
        parts = self.sizes.values()
        grows = [part.parts["vectors"] + part.parts["words"] for part in parts]
        of = {"query": [part.work for part in parts], "vectors and words": grows}
        of["memory"] = [part.memory for part in parts]
        of["files"] = [float(part.vector_bytes + part.word_bytes) for part in self.sizes.values()]
        return {name: float(np.polyfit(sizes, np.log(values), 1)[0]) for name, values in of.items()}


@dataclass(frozen=True, eq=False)
class _Questions:
    """The questions, and what is true of the small catalogue.

    Attributes:
        origins: the photographs. chosen: rows of the questions.
        local: by question the local scores of the real photographs, NaN for itself.
        true: by question which of them show its individual.
        sampled: by question the rising local scores of a sample of distractors.
        threads: of a question.
    """

    origins: Origins
    chosen: npt.NDArray[np.int64]
    local: list[FloatArray]
    true: list[BoolArray]
    sampled: list[FloatArray]
    threads: int


def measure(context: Context) -> ScaleFigures:
    """Make the catalogue larger step by step, and ask the same questions of each."""
    index, options = context.index, context.options
    sizes = options.sizes or _SIZES
    pool = context.matcher.pair_pool(context.store)
    context.say(f"keypoints of {len(index):,} photographs")
    codes = pool.codes([item.key for item in index.descriptions])
    origins = Origins(index.vectors, codes, context.seed, min(options.full, sizes[-1]))
    described, photo_bytes, store_bytes = _describing(context)
    efficient = efficiency(context.say) if options.efficiency else {}
    found: dict[str, SizeFigures] = {}
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scarmatch-scale-", dir=options.work) as name:
        folder = Path(name)
        files = open_files(folder)
        files.words.learn(origins.codes)
        there, questions = 0, None
        for size in sizes:
            context.say(f"{size:,} photographs")
            started = time.process_time()
            origins.grow(files, there, size - _ADDED)
            began_adding = time.process_time()
            origins.grow(files, size - _ADDED, size)
            adding, building = time.process_time() - began_adding, time.process_time() - started
            there = size
            if questions is None:
                questions = _questions(context, index, origins, files, size)
            part = found[str(size)] = _ask(folder, questions, size, adding, building)
            context.say(f"a query's work {markdown.seconds(part.work)} ({spent(part)}), {part.memory:,.0f} MiB")
    code_bytes = float(np.mean([own.nbytes for own in codes]))
    threads = default_workers()
    return ScaleFigures(
        len(index),
        len(questions.chosen) if questions else 0,
        threads,
        origins.full,
        code_bytes,
        found,
        described,
        photo_bytes,
        store_bytes,
        efficient,
    )


def _questions(context: Context, index: CatalogIndex, origins: Origins, files: LargeFiles, size: int) -> _Questions:
    """Choose photographs whose individual others show, and score them against everybody who is there."""
    names = index.catalog.table["individual_id"].to_numpy(object)
    shuffled = np.random.default_rng(context.seed).permutation(len(index))
    several = [row for row in shuffled if names[row] is not None and (names == names[row]).sum() > 1]
    chosen = np.array(several[: context.queries], np.int64)
    context.say(f"{len(chosen)} questions, scored against everybody")
    threads, real = default_workers(), DescriptorTable.of(list(origins.codes))
    last = min(len(origins) + _SAMPLED, size, origins.full)
    made = DescriptorTable.of([part for part in files.codes.take(digests_of(len(origins), last)) if part is not None])
    asked = [(origins.codes[row], table) for row in chosen for table in (real, made)]
    scores = list(score_tables(asked, threads, None))
    local, true = scores[::2], [(names == names[row]) & (np.arange(len(index)) != row) for row in chosen]
    for row, own in zip(chosen, local, strict=True):
        own[row] = np.nan
    return _Questions(origins, chosen, local, true, [np.sort(part) for part in scores[1::2]], threads)


def _ask(folder: Path, questions: _Questions, size: int, adding: float, building: float) -> SizeFigures:
    """Let a fresh process ask; see in full whether it was right."""
    origins, chosen = questions.origins, questions.chosen
    queries = [origins.codes[row] for row in chosen]
    np.savez(
        folder / "questions.npz",
        rows=chosen,
        vectors=origins.vectors[chosen],
        codes=np.concatenate(queries),
        bounds=np.cumsum([0, *map(len, queries)]),
        size=size,
        full=origins.full,
        threads=questions.threads,
    )
    command = [sys.executable, "-m", "bench.scale_questions", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment())
    answers = json.loads(done.stdout)
    answered: list[Mapping[str, Any]] = answers["questions"]
    same = sum(_as_alone(origins, int(row), answer) for row, answer in zip(chosen, answered, strict=True))
    kept = [np.isin(_best_alone(questions, k), answer["rows"]).mean() for k, answer in enumerate(answered)]
    listed = [_found_by_all(questions, k, size) for k in range(len(chosen))]
    by_words, by_either = (
        [np.isin(rows, answer[name]) for rows, answer in zip(listed, answered, strict=True)]
        for name in ("by_words", "rows")
    )
    timed = answered[1:] or answered
    medians = {
        name: float(np.median([answer[name] for answer in timed])) for name in (*PARTS, "clock", "chosen", "exact")
    }
    return SizeFigures(
        vector_bytes=_bytes(folder / "vectors"),
        word_bytes=_bytes(folder / "words"),
        first=answers["first"],
        query=medians["clock"],
        parts={name: medians[name] for name in PARTS},
        chosen=medians["chosen"],
        exact=medians["exact"],
        memory=answers["memory"],
        adding=adding,
        building=building,
        same=same,
        kept=float(np.mean(kept)),
        true_matches=sum(map(len, listed)),
        found=_share(by_words),
        found_by_either=_share(by_either),
    )


def _share(parts: Sequence[BoolArray]) -> float:
    every = np.concatenate([np.zeros(0, bool), *parts])
    return float(every.mean()) if len(every) else 1.0


def _best_alone(questions: _Questions, number: int) -> npt.NDArray[np.int64]:
    """Return the best real photographs of a question by cosine and local score, as the exhaustive search has them."""
    row, vectors = questions.chosen[number], questions.origins.vectors
    allowed = np.arange(len(vectors)) != row
    fused = ScoredDatabase(vectors @ vectors[row], questions.local[number], allowed).fused
    fused[row] = -np.inf
    return np.argsort(-fused, kind="stable")[:_BEST]


def _found_by_all(questions: _Questions, number: int, size: int) -> npt.NDArray[np.int64]:
    """Return the true matches of a question that a search which scores everybody by keypoints would list."""
    scores, made = np.nan_to_num(questions.local[number], nan=-1.0), questions.sampled[number]
    true = np.flatnonzero(questions.true[number])
    before = np.array([(scores > scores[row]).sum() for row in true], np.float64)
    if len(made):
        higher = 1 - np.searchsorted(made, scores[true], side="right") / len(made)
        before += higher * (size - len(scores))
    return true[before < _LISTED]


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
    """Return the tables of sizes, the recall of the words, workers, and the model of cost."""
    figures, rows, shares = result.figures, [], []
    for size, part in figures.sizes.items():
        rows.append(
            [
                f"{int(size):,}",
                f"{markdown.seconds(part.work)} ({spent(part)})",
                markdown.seconds(part.query),
                markdown.seconds(part.first),
                f"{part.memory / 1024:.2f} GiB",
                f"{part.vector_bytes / 1e9:.2f} + {part.word_bytes / 1e9:.2f} GB",
                f"{part.chosen:,.0f}; {part.exact:,.0f}",
                markdown.seconds(part.adding),
                markdown.seconds(part.building),
            ]
        )
        shares.append(
            [
                f"{int(size):,}",
                f"{part.same} of {figures.questions}",
                f"{part.kept:.3f}",
                f"{part.true_matches}",
                f"{part.found:.3f}",
                f"{part.found_by_either:.3f}",
            ]
        )
    heads = [
        "photographs",
        "a query's candidates, work of all cores",
        "by the clock",
        "first",
        "memory",
        "vectors + words",
        "scored by keypoints; read in full",
        "adding 1,000",
        "building",
    ]
    share_heads = [
        "photographs",
        "by cosine as in the small catalogue",
        "scored of the small catalogue's best 20",
        "true matches that scoring all would list",
        f"of these in the words' best {BY_WORDS:,}",
        "in words' or cosine's",
    ]
    slopes = figures.slopes()
    grown = ", ".join(f"{name} {value:.2f}" for name, value in slopes.items())
    text = [
        markdown.table(heads, rows),
        f"{figures.threads} threads; {result.cpu}. Descriptors of {figures.code_bytes / 1e3:.0f} KB a photograph come "
        f"on top of the files, here of {figures.full:,} photographs." + (f" Slopes: {grown}." if grown else ""),
        markdown.table(share_heads, shares),
        f"{figures.questions} questions; {figures.real:,} photographs are real, the others distractors.",
        workers(figures),
        cost(figures),
    ]
    return "\n\n".join(part for part in text if part)


def spent(part: SizeFigures) -> str:
    """Return what a query's work goes to."""
    return ", ".join(f"{name} {markdown.seconds(value)}" for name, value in part.parts.items())


def workers(figures: ScaleFigures) -> str:
    """Return the efficiency of worker processes."""
    if not figures.efficiency:
        return ""
    shares = ", ".join(f"{value:.2f} with {count}" for count, value in figures.efficiency.items())
    return (
        f"Efficiency of worker processes of a cluster on this machine: {shares} (tasks that compute for "
        f"{1000 * COMPUTES:.0f} ms and wait for {1000 * WAITS:.0f} ms)."
    )


def cost(figures: ScaleFigures) -> str:
    """Return the model of cost, from the largest catalogue measured."""
    size, part = list(figures.sizes.items())[-1]
    files = (part.vector_bytes + part.word_bytes) / int(size) + figures.code_bytes
    grows = part.parts["vectors"] + part.parts["words"]
    rows = [
        [
            f"{count:,}",
            f"{count * figures.describing / 3600:,.0f} core hours",
            f"{count * figures.photo_bytes / 1e12:,.2f} TB",
            f"{count * figures.store_bytes / 1e12:,.2f} TB",
            f"{count * files / 1e12:,.2f} TB",
            markdown.seconds(part.work + grows * (count / int(size) - 1)),
        ]
        for count in _MODEL
    ]
    heads = [
        "photographs",
        "describing them",
        "photographs read",
        "records in the store",
        "vectors, words and descriptors",
        "a query's candidates, work of all cores",
    ]
    return (
        f"Model of cost: {figures.describing:.2f} s of one core, {figures.photo_bytes / 1e6:.2f} MB of photograph and "
        f"{figures.store_bytes / 1e3:.0f} KB of records each. Of a query, vectors and words grow with the "
        "catalogue; scoring and reading do not.\n\n" + markdown.table(heads, rows)
    )


def plot(figures: ScaleFigures, path: Path) -> None:
    """Draw time and memory over the number of photographs."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(10, 3.4), layout="constrained")
    sizes, parts = [int(size) for size in figures.sizes], list(figures.sizes.values())
    slopes = figures.slopes()
    left, right = picture.subplots(1, 2)
    for name, values in (
        ("a query's work", [part.work for part in parts]),
        ("by the clock", [part.query for part in parts]),
        *((name, [part.parts[name] for part in parts]) for name in PARTS),
        ("first question", [part.first for part in parts]),
    ):
        left.plot(sizes, values, marker="o", label=name)
    left.set(xlabel="photographs", ylabel="seconds", title=f"time (slope {slopes.get('query', float('nan')):.2f})")
    right.plot(sizes, [part.memory / 1024 for part in parts], marker="o", label="memory")
    on_disk = [(part.vector_bytes + part.word_bytes) / 2**30 for part in parts]
    right.plot(sizes, on_disk, marker="o", label="vectors and words")
    right.set(xlabel="photographs", ylabel="GiB", title=f"memory (slope {slopes.get('memory', float('nan')):.2f})")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.grid(alpha=0.3)
    picture.savefig(path, dpi=130)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument(
        "--sizes",
        action="append",
        type=int,
        metavar="N",
        help=f"photographs; give it several times, rising ({', '.join(map(str, _SIZES))}: 19 GB of disk while it runs)",
    )
    parser.add_argument(
        "--full", type=int, default=_FULL, metavar="N", help=f"photographs with descriptors of their own ({_FULL:,})"
    )
    parser.add_argument("--efficiency", action="store_true", help="measure worker processes of a cluster too")
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
