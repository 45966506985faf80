"""A ranker from a labelled catalogue: ask every photograph against all the others, learn from the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
from features.records import BoolArray
from reranker.training import TrainedRanker, train_ranker
from reranker.training_settings import TrainingSettings

if TYPE_CHECKING:
    from engine.catalogue.index import CatalogIndex, Progress
    from engine.search.matcher import Matcher

RankerKind = Literal["auto", "logistic", "lambdamart", "blend"]


def choose_queries(catalog: Catalog, count: int | None, seed: int) -> list[str]:
    """Return the photographs to ask: those with a match, individuals in turn so that the busiest do not take over.

    Args:
        catalog: labelled.
        count: at most so many; None takes all.
        seed: of the choice.

    Raises:
        CatalogError: no individual has two photographs.
    """
    table = catalog.table[["image_id", "individual_id"]].dropna()
    table = table[table.groupby("individual_id")["image_id"].transform("size") > 1]
    if table.empty:
        raise CatalogError(
            f"{catalog.root}: no individual has two photographs, so there is nothing to learn from: a labelled "
            "catalogue needs individuals that were seen more than once"
        )
    return sorted(in_turn(table, count, seed), key=catalog.position)


def in_turn(table: pd.DataFrame, count: int | None, seed: int) -> list[str]:
    """Draw image ids so that every individual has its turn before one has a second; None takes all.

    Args:
        table: columns image_id and individual_id.
        count: at most so many.
        seed: of the draw.
    """
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    turns = shuffled.groupby("individual_id").cumcount().to_numpy()
    return shuffled["image_id"].iloc[np.argsort(turns, kind="stable")].iloc[:count].tolist()


def labelled_pairs(
    queries: CatalogIndex, database: CatalogIndex, matcher: Matcher, progress: Progress | None = None
) -> pd.DataFrame:
    """Return the raw pair table of the queries' shortlists, each asked twice: with and without its own encounter.

    A shortlist that near copies of the query fill up says nothing about the harder question. The rows of both askings
    follow each other, most pairs in both: ``first_asking`` marks those of the first, ``n_true`` counts all matches and
    ``n_true_other_encounter`` those of the second asking.
    """
    every = matcher.pairs(queries, database, CandidateFilter(), progress, neighbours=True)
    other = matcher.pairs(queries, database, CandidateFilter(exclude_encounter=True), progress, neighbours=True)
    truth = other.groupby("query_id")["n_true"].first()
    both = pd.concat([every.assign(first_asking=True), other.assign(first_asking=False)], ignore_index=True)
    both["n_true"] = both["query_id"].map(every.groupby("query_id")["n_true"].first())
    both["n_true_other_encounter"] = both["query_id"].map(truth)
    return both


class FurtherLabels(Protocol):
    """What is known of pairs beyond the names that a catalogue's photographs bear."""

    @property
    def asked(self) -> Sequence[str]:
        """Photographs to ask although nobody may bear their name."""

    def unknown(self, pairs: pd.DataFrame) -> BoolArray:
        """Return (rows,) True where the names of query_id and candidate_id do not tell whether they are one animal."""


def train_on_catalog(
    catalog: Catalog,
    matcher: Matcher,
    queries: int | None = None,
    seed: int = 0,
    kind: RankerKind = "auto",
    progress: Progress | None = None,
    further: FurtherLabels | None = None,
) -> TrainedRanker:
    """Fit and calibrate a ranker on a labelled catalogue.

    Args:
        catalog: photographs with individuals; dates, viewpoints and encounters help.
        matcher: how evidence is gathered (its own ranker is not used).
        queries: ask so many photographs at most.
        seed: of the choice of queries and of the folds.
        kind: "auto" chooses by out-of-fold mAP.
        progress: called with (done, total) of whatever is at work.
        further: what is known of pairs beyond names; its photographs are asked whatever ``queries`` says.

    Raises:
        CatalogError: the catalogue has too few labels.
    """
    index = matcher.index(catalog, progress)
    asked = choose_queries(index.catalog, queries, seed)
    if further is not None:
        more = {image for image in further.asked if image in index.catalog}
        asked = sorted({*asked, *more}, key=index.catalog.position)
    raw = labelled_pairs(index.subset(asked), index, matcher, progress)
    if further is not None:  # a row without a name teaches nothing, but stays in its list
        raw["individual1"] = raw["individual1"].astype(object).mask(further.unknown(raw), None)
    return train_on_pairs(raw, matcher, TrainingSettings(kind=kind, seed=seed))


def train_on_pairs(
    raw: pd.DataFrame,
    matcher: Matcher,
    settings: TrainingSettings,
    further: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> TrainedRanker:
    """Fit a ranker on a labelled raw pair table; it remembers which keypoints and descriptor the table came from.

    ``further`` holds other tables that are judged too and teach nothing (:func:`reranker.training.train_ranker`).
    """
    describe = matcher.settings.describe
    kind, descriptor = describe.keypoints.kind, describe.descriptor.model
    return train_ranker(raw, settings, keypoint_kind=kind, descriptor=descriptor, further=further)


def render_report(report: dict[str, Any]) -> str:
    """Return a training report as text for a terminal."""
    lines = [
        f"{report['training_queries']:,} queries, {report['training_rows']:,} pairs, {report['individuals']:,} "
        f"individuals, {report['folds']} folds by individual",
        f"chosen: {report['kind']} ({report['reason']})",
    ]
    for protocol, methods in report["protocols"].items():
        lines.append(f"out of fold, {protocol}:")
        for method, figures in methods.items():
            shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items() if isinstance(value, float))
            lines.append(f"  {method:<14} {shown}")
    errors = ", ".join(
        f"{name} {value:.3f}" for name, value in report["calibration_error"].items() if value is not None
    )
    lines.append(f"expected calibration error: {errors}")
    return "\n".join(lines)
