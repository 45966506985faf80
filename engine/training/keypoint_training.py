"""Train the metric of keypoints on a labelled catalogue: pairs of photographs that agree teach it what lasts.

Photographs of one individual are compared by nearest neighbours of their keypoints; those that agree in one placement
better than nearly all pairs of two individuals do become teachers, with every keypoint that the placement lays on
another. The metric that they teach finds more such pairs, which teach the next round. No place is labelled by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from engine.geometry.verification import VerificationSettings, transfer
from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings
from engine.training.pair_mining import Progress, accept, candidate_pairs, match_pairs
from features.keypoints.metric import MODEL_NAME, KeypointMetric
from features.records import LocalFeatures
from features.training.data import teaching_rows

if TYPE_CHECKING:
    import pandas as pd

    from engine.catalogue.catalog import Catalog
    from engine.search.matcher import Matcher
    from features.training.keypoint_metric import KeypointTrainSettings, SamePlaces

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Agreeing:
    """Pairs of photographs of one individual that agree.

    Attributes:
        pairs: (row, row) of each.
        models: (3, 3) placement of each: canonical pixels of the first to those of the second.
        threshold: plausible inliers from which a pair was accepted.
        tried, accepted: numbers of pairs by kind ("same encounter", "other encounter").
    """

    pairs: tuple[tuple[int, int], ...]
    models: tuple[npt.NDArray[np.float64], ...]
    threshold: float
    tried: dict[str, int]
    accepted: dict[str, int]


def train_keypoint_metric(
    catalog: Catalog,
    matcher: Matcher,
    output: Path | str,
    settings: KeypointTrainSettings | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train on the labelled photographs of a catalogue.

    A stopped training starts again; what it describes is in the store by then.

    Args:
        catalog: labelled.
        matcher: describes the photographs, as its settings say, and keeps them in its store.
        output: folder for ``keypoints.safetensors``.
        settings: see :class:`features.training.keypoint_metric.KeypointTrainSettings`.
        progress: called with records (stage, done, total, loss).

    Returns:
        The path of the trained metric.

    Raises:
        SettingsError: no two photographs of an individual agree.
    """
    from features.training.keypoint_metric import KeypointTrainSettings, fit_metric

    settings = settings or KeypointTrainSettings()
    table = teaching_rows(catalog.table, settings.held_out, settings.views)

    def show(done: int, total: int) -> None:
        if progress is not None:
            progress({"stage": "describing", "done": done, "total": total})

    index = matcher.index(catalog.subset(table["image_id"].tolist()), show)
    worker = matcher.pair_pool(matcher.store_for(index.catalog)).worker
    views = [worker.describer.local(item.key) for item in index.descriptions]
    kind = matcher.settings.describe.keypoints.kind
    about: dict[str, Any] = {"photographs": len(views), "individuals": int(table["individual_id"].nunique())}
    about |= {"settings": settings.to_dict(), "rounds": []}
    metric: KeypointMetric | None = None
    for number in range(settings.rounds):
        agreeing = agreeing_pairs(views, index.catalog.table, metric, matcher.settings.verification, settings, progress)
        log.info("round %d: pairs accepted: %s of %s", number + 1, agreeing.accepted, agreeing.tried)
        taught = [
            same_places(views[a], views[b], m, settings)
            for (a, b), m in zip(agreeing.pairs, agreeing.models, strict=True)
        ]
        taught = [pair for pair in taught if len(pair.indices) >= settings.fewest]
        matrix, losses = fit_metric(taught, settings, progress, f"fitting, round {number + 1}")
        about["rounds"].append(
            {"tried": agreeing.tried, "accepted": agreeing.accepted, "taught": len(taught), "loss": losses}
        )
        metric = KeypointMetric(matrix, kind, about)
    assert metric is not None
    path = Path(output) / MODEL_NAME
    metric.save(path)
    return path


def agreeing_pairs(
    views: Sequence[LocalFeatures],
    table: pd.DataFrame,
    metric: KeypointMetric | None,
    checks: VerificationSettings,
    settings: KeypointTrainSettings,
    progress: Progress | None = None,
) -> Agreeing:
    """Find pairs of photographs of one individual whose keypoints agree in one placement.

    A pair is accepted if it has more plausible inliers than all but ``false_rate`` of the pairs of two individuals.

    Args:
        views: keypoints of the photographs.
        table: (photographs) of the catalogue: individual_id, encounter_id.
        metric: makes descriptors comparable; None takes them as they are.
    """
    drawn = candidate_pairs(table, settings)
    described = [_described(view, metric) for view in views]
    # Every keypoint takes part, and the metric is in the descriptors by now.
    everything = MutualNNSettings(max_keypoints=max([1, *map(len, views)]), metric="none")
    matcher = MutualNNMatcher(views[0].kind if views else "", everything)
    scores, models = np.zeros(len(drawn)), []
    for number, (_, check) in enumerate(match_pairs(described, drawn, matcher, checks, progress)):
        scores[number] = check.n_inliers * check.plausibility
        models.append(check.model)
    accepted = accept(drawn, scores, settings.false_rate)
    pairs = tuple(drawn[i][:2] for i in accepted.chosen)
    return Agreeing(
        pairs, tuple(models[i] for i in accepted.chosen), accepted.threshold, accepted.tried, accepted.accepted
    )


def same_places(
    first: LocalFeatures,
    second: LocalFeatures,
    model: npt.NDArray[np.float64],
    settings: KeypointTrainSettings,
) -> SamePlaces:
    """Return the keypoints that lie on one another, each the other's nearest, once one animal is on the other."""
    from features.training.keypoint_metric import SamePlaces

    if not len(first) or not len(second):
        return SamePlaces(first.descriptors, second.descriptors, np.zeros((0, 2), np.int64))
    # What is mapped to nowhere lies far from everything.
    mapped = np.nan_to_num(transfer(model, first.canonical_xy), posinf=1e9)
    distance, columns = cKDTree(second.canonical_xy).query(mapped)
    back = np.asarray(cKDTree(mapped).query(second.canonical_xy)[1])
    rows, columns = np.arange(len(first)), np.asarray(columns)
    near = (distance <= settings.tolerance * max(second.frame.canonical_size)) & (back[columns] == rows)
    return SamePlaces(first.descriptors, second.descriptors, np.stack([rows[near], columns[near]], 1))


def _described(view: LocalFeatures, metric: KeypointMetric | None) -> LocalFeatures:
    if metric is None or not len(view):
        return view
    return replace(view, descriptors=metric.apply(view.descriptors))
