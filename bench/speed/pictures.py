"""How fast pictures of pairs are drawn, layer by layer, and how large a page of many queries becomes.

::

    python -m bench.speed.pictures CATALOG [--pairs 12] [--queries 500] [--result pictures]

Drawing is timed in one process, on pairs whose matches, regions and heat maps are there; what those cost is told apart.
Seconds are those of the processor, all threads added up, so that other work on the machine hardly changes them.
The page is made up of the same pairs, each photograph stamped with a number so that no picture is kept only once that a
real run would keep many times. Where Playwright and Chromium are, the page is opened in it: the time until it can be
used is that until the first query's comparison is drawn.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.browser import open_tab
from bench.machine import write_result
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.commands.console import ProgressBar
from engine.commands.options import positive, with_overrides
from engine.report.explain import heat_maps
from engine.report.match_run import MatchRun
from engine.report.page import PICTURES_PER_QUERY, write_report
from engine.report.page_pictures import PictureBook, pair_data
from engine.report.pair_layers import LAYERS
from engine.report.pair_picture import blink_frames, draw_details, draw_pair
from engine.search.matcher import Matcher, MatcherSettings
from engine.search.pair_evidence import PairEvidence
from features.records import ByteArray, Photo

_TOP = 20
_ROUNDS = 5
#: Candidate photographs that the page's queries share, as those of a catalogue's popular animals are.
_SHARED = 2_000

Figures = dict[str, Any]


def measure(index: CatalogIndex, matcher: Matcher, pairs: int, queries: int, seed: int = 0) -> Figures:
    """Draw pairs of an index in every way, and a page of as many queries; return pictures a second, bytes, seconds."""
    rng = np.random.default_rng(seed)
    names = [index.catalog.ids[i] for i in rng.permutation(len(index))]
    asked = [(names[i % len(names)], names[(i + 1) % len(names)]) for i in range(pairs)]
    heat = heat_maps(matcher)
    # The first pair loads the networks, which is no part of a pair's time.
    heat(matcher.evidence(*asked[0], index, index))
    found = [_timed(partial(matcher.evidence, *pair, index, index)) for pair in asked]
    warm = [_timed(partial(heat, evidence)) for _, evidence in found]
    evidences = [evidence for _, evidence in warm]
    ways: dict[str, Callable[[PairEvidence], object]] = {
        **{layer: partial(draw_pair, layers=(layer,)) for layer in LAYERS},
        "all layers in one": partial(draw_pair, layers=LAYERS),
        "blink": blink_frames,
        "details": draw_details,
        "for the page": lambda evidence: pair_data(evidence, PictureBook(None)),
    }
    return {
        "pairs": pairs,
        "pictures_per_second": {name: _rate(way, evidences) for name, way in ways.items()},
        "matching_per_second": 1 / float(np.median([seconds for seconds, _ in found])),
        "heat_per_second": 1 / float(np.median([seconds for seconds, _ in warm])),
        "page": measure_page(evidences, queries),
    }


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def _rate(draw: Callable[[PairEvidence], object], evidences: Sequence[PairEvidence]) -> float:
    """Return the median of several rounds' pictures a second."""
    rounds = []
    for _ in range(_ROUNDS):
        seconds = sum(_timed(partial(draw, evidence))[0] for evidence in evidences)
        rounds.append(len(evidences) / seconds)
    return float(np.median(rounds))


def measure_page(evidences: Sequence[PairEvidence], queries: int) -> Figures:
    """Write a page of many made-up queries over real pictures, and open it where there is a browser."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, path = _timed(partial(write_report, _run(evidences, queries), folder))
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        return {
            "queries": queries,
            "candidates": queries * _TOP,
            "pairs_with_layers": queries * PICTURES_PER_QUERY,
            "files": len(files),
            "mib": sum(file.stat().st_size for file in files) / 2**20,
            "seconds_to_write": seconds,
            "seconds_to_open": open_seconds(path),
        }


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


def render(figures: Figures) -> str:
    """Return the figures as Markdown."""
    page, rates = figures["page"], figures["pictures_per_second"]
    lines = ["| picture of a pair | a second |", "|---|---|"]
    lines += [f"| {name} | {rate:.0f} |" for name, rate in rates.items()]
    opened = page["seconds_to_open"]
    lines += [
        "",
        f"Photographs 480 pixels tall, {figures['pairs']} pairs, seconds of the processor, the drawing alone. What "
        f"a picture shows costs more: matching {figures['matching_per_second']:.1f} pairs a second, heat maps "
        f"{figures['heat_per_second']:.1f}.",
        "",
        f"A page of {page['queries']:,} queries with {page['candidates']:,} candidates, {page['pairs_with_layers']:,} "
        f"of them with layers: {page['files']} {'file' if page['files'] == 1 else 'files'}, {page['mib']:.0f} MiB, "
        f"written in {page['seconds_to_write']:.0f} s"
        + ("." if opened is None else f"; the first comparison stands {opened:.1f} s after opening it in Chromium."),
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.pictures", description=__doc__.split("\n", 1)[0])
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--pairs", type=positive, default=12, help="pairs that are drawn (12)")
    parser.add_argument("--queries", type=positive, default=500, help="queries of the page (500)")
    parser.add_argument("--store", type=Path, help="folder that keeps what was computed (default: your cache folder)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of pairs (0)")
    parser.add_argument("--result", metavar="NAME", help="write bench/results/NAME.json")
    options = parser.parse_args(arguments)
    settings = with_overrides(MatcherSettings(), options.overrides)
    catalog = Catalog.read(options.catalog)
    rng = np.random.default_rng(options.seed)
    part = catalog.take(rng.permutation(len(catalog))[: options.pairs + 1])
    matcher = Matcher(settings, options.store, ranker="fusion", workers=1)
    index = matcher.index(part, ProgressBar("describing"))
    figures = measure(index, matcher, options.pairs, options.queries, options.seed)
    print(render(figures))
    if options.result:
        protocol = {"pairs": options.pairs, "seed": options.seed, "source": "photographs of a catalogue, one process"}
        write_result(options.result, figures, settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
