"""The first thing a new user runs: a made-up catalogue, a few queries, and a page that shows the answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import Progress
from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog
from engine.report.image_files import save_png
from engine.report.match_report import report_matches
from engine.report.pair_picture import draw_pair
from engine.search.individuals import new_individual_probability
from engine.search.matcher import Matcher

#: Small enough to be described in well under a minute on two cores.
DEMO = SyntheticSettings(individuals=16, photographs=110)


def run_demo(
    output: Path,
    n_queries: int = 4,
    workers: int | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
    show_answers: Callable[[str, pd.DataFrame, float], None] = lambda *_: None,
    progress: Callable[[str], Progress | None] = lambda _: None,
) -> Path:
    """Draw a catalogue, match queries of its last year against the earlier years, and write pictures and a page.

    Args:
        output: folder to write: ``catalog/``, ``store/``, ``pairs/*.png`` and ``report/index.html``.
        n_queries: number of queries.
        workers: processes, None for one per core.
        say: called with each line for the user.
        show_answers: called with each query's title, its best five candidates and the probability that it is new.
        progress: stage -> what is called with (done, total) of that stage.

    Returns:
        The page.
    """
    started = time.perf_counter()
    say(f"drawing {DEMO.photographs} photographs of {DEMO.individuals} made-up whales into {output / 'catalog'}")
    catalog = Catalog.read(make_catalog(output / "catalog", DEMO))
    matcher = Matcher(store=output / "store", workers=workers)
    index = matcher.index(catalog, progress("describing"))
    query_ids, database = choose_demo_queries(catalog, n_queries)
    queries, candidates = index.subset(query_ids), index.subset(database)
    say(f"matching {len(queries)} photographs of the last year against {len(candidates)} of the years before")
    raw = matcher.pairs(queries, candidates, progress=progress("matching"))
    answers = matcher.rank(raw)
    new = new_individual_probability(answers, queries.catalog.ids, model=matcher.individual_model)
    for query_id in queries.catalog.ids:
        truth = queries.catalog.row(query_id)["individual_id"]
        rows = answers[(answers["query_id"] == query_id) & (answers["rank"] <= 5)]
        show_answers(f"{query_id} (in truth {truth})", rows, float(new[query_id]))
    folder = output / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    best = answers[answers["rank"] == 1]
    for query_id, image_id in zip(best["query_id"].tolist(), best["image_id"].tolist(), strict=True):
        evidence = matcher.evidence(query_id, image_id, queries, candidates)
        save_png(folder / f"{query_id}-{image_id}.png", draw_pair(evidence, ("photographs", "inliers")))
    page = report_matches(
        matcher,
        queries,
        candidates,
        answers,
        output / "report",
        f"{len(candidates)} candidates",
        progress("drawing"),
        raw=raw,
    )
    say(f"\npictures of matched keypoints: {folder}\npage: {page}\ndone in {time.perf_counter() - started:.0f} s")
    return page


def choose_demo_queries(catalog: Catalog, count: int) -> tuple[list[str], list[str]]:
    """Return queries of the last year (one per whale, known and unknown ones) and the ids of the years before."""
    table = catalog.table[catalog.table["viewpoint"] == "top"]
    year = table["date"].dt.year
    last = table[year == year.max()]
    before = catalog.table[catalog.table["date"].dt.year < year.max()]
    rng = np.random.default_rng(0)
    first = last.iloc[rng.permutation(len(last))].drop_duplicates("individual_id")
    seen_before = first["individual_id"].isin(before["individual_id"])
    ordered = pd.concat([first[seen_before], first[~seen_before]])
    return sorted(ordered["image_id"].iloc[:count]), before["image_id"].tolist()
