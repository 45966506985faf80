"""Pictures of what a measurement found, as the product's own page; real photographs stay out of the repository."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from engine.catalogue.index import CatalogIndex
from engine.report.match_report import report_matches
from engine.search.matcher import Matcher

REPOSITORY = Path(__file__).resolve().parents[1]


def outside_repository(text: str) -> Path:
    """Return a folder given on the command line.

    Raises:
        argparse.ArgumentTypeError: it lies inside the repository.
    """
    if Path(text).resolve().is_relative_to(REPOSITORY):
        raise argparse.ArgumentTypeError(
            f"{text}: pictures of real photographs stay out of the repository; name a folder elsewhere"
        )
    return Path(text)


def draw_page(pairs: pd.DataFrame, index: CatalogIndex, matcher: Matcher, output: Path, title: str) -> Path:
    """Write a page of pairs and return it: one section a query, its candidates in the order given.

    Args:
        pairs: query_id, image_id, probability; further columns of the engine's answers are kept.
        index: the photographs of both.
        matcher: draws the evidence.
        output: folder of the page.
        title: its headline.
    """
    pairs = pairs.reset_index(drop=True)
    names = index.catalog.table.set_index("image_id")["individual_id"]
    answers = pairs.assign(
        rank=pairs.groupby("query_id", sort=False).cumcount() + 1,
        individual_id=names.reindex(pairs["image_id"]).to_numpy(),
    )
    queries = index.subset(list(dict.fromkeys(answers["query_id"])))
    most = int(answers["rank"].max())
    return report_matches(matcher, queries, index, answers, output, title=title, pictures_per_query=most)
