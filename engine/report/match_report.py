"""A run of the matcher as a page: joins answers, photographs, heat maps and explanations with pictures of pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.report.explain import explainer, heat_maps
from engine.report.match_run import MatchRun
from engine.report.page import PICTURES_PER_QUERY, write_report
from engine.report.reasons import reasons
from engine.search.individuals import new_individual_probability, rank_individuals
from engine.search.pair_evidence import PairEvidence
from features.photo import read_photo
from features.records import ByteArray

if TYPE_CHECKING:
    from engine.catalogue.index import CatalogIndex, Progress
    from engine.search.matcher import Matcher


def report_matches(
    matcher: Matcher,
    queries: CatalogIndex,
    catalog: CatalogIndex,
    answers: pd.DataFrame,
    output_dir: Path,
    filter_text: str = "",
    progress: Progress | None = None,
    title: str = "Who is this?",
    raw: pd.DataFrame | None = None,
    query_filters: Mapping[str, str] | None = None,
    pictures_per_query: int = PICTURES_PER_QUERY,
) -> Path:
    """Write the page of a run and return its path; pictures are drawn only for the best candidates of each query.

    Args:
        matcher: the matcher that answered.
        queries, catalog: what was asked, and where.
        answers: as :meth:`engine.search.matcher.Matcher.match` returns them.
        output_dir: folder of the page.
        filter_text: the candidate filter in words, with its counts.
        progress: called with (queries done, queries in all).
        title: headline.
        raw: the raw pair table behind the answers; with it, the page shows what the ranker weighed.
        query_filters: query_id -> the filter's counts for this query, in words.
        pictures_per_query: candidates of a query that get layers.
    """
    individuals = rank_individuals(answers, model=matcher.individual_model)
    rows = {(str(row["query_id"]), str(row["image_id"])): row for row in answers.to_dict("records")}
    new = new_individual_probability(answers, queries.catalog.ids, individuals)

    heat = heat_maps(matcher)

    def evidence(query_id: str, image_id: str) -> PairEvidence:
        pair = matcher.evidence(query_id, image_id, queries, catalog, prefetched)
        answer: dict[Any, Any] = rows.get((query_id, image_id), {})
        probability = answer.get("probability")
        return dataclasses.replace(
            heat(pair),
            probability=None if probability is None else float(probability),
            reasons=reasons(pair.verification, len(pair.correspondences), answer),
        )

    shown = answers[answers["rank"] <= pictures_per_query]
    asked, found = shown["query_id"].astype(str), shown["image_id"].astype(str)
    prefetched = matcher.prefetch(list(zip(asked, found, strict=True)), queries, catalog)
    run = MatchRun(
        answers=answers,
        queries=queries.catalog.table,
        candidates=catalog.catalog.table,
        read=read_rgb,
        evidence=evidence,
        individuals=individuals,
        new_individual={str(name): float(value) for name, value in new.items()},
        filter_text=filter_text,
        settings=matcher.describe_settings(),
        title=title,
        query_filters=query_filters or {},
        parts=None if raw is None else explainer(matcher, raw, answers),
    )
    return write_report(run, output_dir, pictures_per_query=pictures_per_query, progress=progress)


def read_rgb(path: str) -> ByteArray:
    """Return a photograph's upright (H, W, 3) RGB pixels."""
    return np.ascontiguousarray(read_photo(Path(path)).rgb)
