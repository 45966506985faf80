"""How fast pictures of pairs are drawn, layer by layer, and how large a page of many queries becomes.

Drawing is timed in one process, on pairs whose matches, regions and heat maps are there; what those cost is told apart.
Seconds are those of the processor, all threads added up, so that other work on the machine hardly changes them. The
page is made up of the same pairs, each photograph stamped with a number so that no picture is kept only once that a
real run would keep many times. Where Playwright and Chromium are, the page is opened in it: the time until it can be
used is that until the first query's comparison is drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench import markdown
from bench.browser import open_tab
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.report.explain import heat_maps
from engine.report.match_run import MatchRun
from engine.report.page import PICTURES_PER_QUERY, write_report
from engine.report.page_pictures import PictureBook, pair_data
from engine.report.pair_layers import LAYERS
from engine.report.pair_picture import blink_frames, draw_details, draw_pair
from engine.search.pair_evidence import PairEvidence
from features.records import ByteArray, Photo

_TOP, _ROUNDS = 20, 5
#: Candidate photographs that the page's queries share, as those of a catalogue's popular animals are.
_SHARED = 2_000


@dataclass(frozen=True)
class Page:
    """A page of many queries; ``seconds_to_open``: None without a browser."""

    queries: int
    candidates: int
    pairs_with_layers: int
    files: int
    mib: float
    seconds_to_write: float
    seconds_to_open: float | None


@dataclass(frozen=True)
class PicturesFigures(Figures):
    """Everything this measurement finds; ``pictures_per_second``: way of drawing -> rate."""

    pairs: int
    pictures_per_second: dict[str, float]
    matching_per_second: float
    heat_per_second: float
    page: Page


def measure(context: Context) -> PicturesFigures:
    """Draw pairs of a catalogue in every way, and a page of as many queries."""
    pairs, matcher = context.options.pairs, context.matcher
    order = np.random.default_rng(context.seed).permutation(len(context.catalog))
    index = matcher.index(context.catalog.take(order[: pairs + 1]), context.progress("photographs"))
    names = index.catalog.ids
    asked = [(names[i % len(names)], names[(i + 1) % len(names)]) for i in range(pairs)]
    heat = heat_maps(matcher)
    heat(matcher.evidence(*asked[0], index, index))  # loads the networks, which is no part of a pair's time
    found = [processor_time(partial(matcher.evidence, *pair, index, index)) for pair in asked]
    warm = [processor_time(partial(heat, evidence)) for _, evidence in found]
    evidences = [evidence for _, evidence in warm]
    ways: dict[str, Callable[[PairEvidence], object]] = {
        **{layer: partial(draw_pair, layers=(layer,)) for layer in LAYERS},
        "all layers in one": partial(draw_pair, layers=LAYERS),
        "blink": blink_frames,
        "details": draw_details,
        "for the page": lambda evidence: pair_data(evidence, PictureBook(None)),
    }
    return PicturesFigures(
        pairs=pairs,
        pictures_per_second={name: _rate(way, evidences) for name, way in ways.items()},
        matching_per_second=1 / float(np.median([seconds for seconds, _ in found])),
        heat_per_second=1 / float(np.median([seconds for seconds, _ in warm])),
        page=measure_page(evidences, context.queries),
    )


def processor_time(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor's seconds that some work takes, and its answer."""
    started = time.process_time()
    answer = work()
    return time.process_time() - started, answer


def _rate(draw: Callable[[PairEvidence], object], evidences: Sequence[PairEvidence]) -> float:
    """Return the median of several rounds' pictures a second."""
    rounds = [sum(processor_time(partial(draw, evidence))[0] for evidence in evidences) for _ in range(_ROUNDS)]
    return len(evidences) / float(np.median(rounds))


def measure_page(evidences: Sequence[PairEvidence], queries: int) -> Page:
    """Write a page of many made-up queries over real pictures, and open it where there is a browser."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, path = processor_time(partial(write_report, _run(evidences, queries), folder))
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        mib = sum(file.stat().st_size for file in files) / 2**20
        layers = queries * PICTURES_PER_QUERY
        return Page(queries, queries * _TOP, layers, len(files), mib, seconds, open_seconds(path))


def _run(evidences: Sequence[PairEvidence], queries: int) -> MatchRun:
    """Return a run of made-up answers: query and candidate number n show a pair's photographs, stamped with n."""
    pools = ([e.photo0.rgb for e in evidences], [e.photo1.rgb for e in evidences])

    def read(path: str) -> ByteArray:
        side, number = path.split("/")
        return stamp(pools[int(side)][int(number) % len(evidences)], int(number))

    def evidence(query_id: str, image_id: str) -> PairEvidence:
        query, candidate = int(query_id[1:]), int(image_id[1:])
        chosen = evidences[query % len(evidences)]
        photos = [
            Photo(stamp(photo.rgb, number), photo.valid, photo.sha256)
            for photo, number in ((chosen.photo0, query), (chosen.photo1, candidate))
        ]
        return dataclasses.replace(chosen, photo0=photos[0], photo1=photos[1])

    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for query in range(queries):
        chances = np.sort(rng.beta(0.3, 1.5, _TOP))[::-1]
        # A candidate's photograph is that of the query's pair, whose layers lie on it.
        chosen = rng.permutation(max(_SHARED, 2 * _TOP))[:_TOP] // len(evidences) * len(evidences)
        shown = chosen + query % len(evidences)
        rows += [
            {"query_id": f"q{query}", "rank": rank, "image_id": f"c{name}", "probability": float(chance)}
            for rank, (name, chance) in enumerate(zip(shown.tolist(), chances, strict=True), start=1)
        ]
    answers = pd.DataFrame(rows).drop_duplicates(["query_id", "image_id"])
    names = sorted(set(answers["image_id"]))
    return MatchRun(
        answers=answers,
        queries=pd.DataFrame({"image_id": f"q{n}", "path": f"0/{n}"} for n in range(queries)),
        candidates=pd.DataFrame(
            {"image_id": n, "path": f"1/{n[1:]}", "individual_id": f"whale{int(n[1:]) % 300:03d}"} for n in names
        ),
        read=read,
        evidence=evidence,
    )


def stamp(rgb: ByteArray, number: int) -> ByteArray:
    """Return a copy with a number's sixteen bits in its top rows, light and dark, coarse enough to survive JPEG."""
    marked = rgb.copy()
    step = max(rgb.shape[1] // 16, 1)
    for bit in range(16):
        marked[: max(step, 8), bit * step : (bit + 1) * step] = 230 if number >> bit & 1 else 30
    return marked


def open_seconds(page: Path) -> float | None:
    """Return the seconds until a page's first comparison is drawn in Chromium, None where there is no browser."""
    with open_tab() as tab:
        if tab is None:
            return None
        started = time.perf_counter()
        tab.goto(page.as_uri(), timeout=120_000)
        tab.keyboard.press("j")
        tab.wait_for_selector(".query.now .view image", timeout=120_000)
        return time.perf_counter() - started


def full(result: Result[PicturesFigures]) -> str:
    """Return the rates, and what a page costs."""
    figures, page = result.figures, result.figures.page
    rows = [[name, f"{rate:.0f}"] for name, rate in figures.pictures_per_second.items()]
    words = (
        f"Photographs 480 pixels tall, {figures.pairs} pairs, seconds of the processor, the drawing alone. What a "
        f"picture shows costs more: matching {figures.matching_per_second:.1f} pairs a second, heat maps "
        f"{figures.heat_per_second:.1f}."
    )
    opened = page.seconds_to_open
    of_page = (
        f"A page of {page.queries:,} queries with {page.candidates:,} candidates, {page.pairs_with_layers:,} of them "
        f"with layers: {page.files} {'file' if page.files == 1 else 'files'}, {page.mib:.0f} MiB, written in "
        f"{page.seconds_to_write:.0f} s"
        + ("." if opened is None else f"; the first comparison stands {opened:.1f} s after opening it in Chromium.")
    )
    return "\n\n".join([markdown.table(["picture of a pair", "a second"], rows), words, of_page])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--pairs", type=int, default=12, help="pairs that are drawn (12)")


MEASUREMENT = Measurement(
    title="Speed of pictures",
    figures=PicturesFigures,
    measure=measure,
    full=full,
    add_options=add_options,
    queries=500,
    individuals="all",
)
