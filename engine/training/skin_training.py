"""Train dense skin descriptors on a labelled catalogue: made-up views first, then pairs of photographs that they find.

The network of the first stage matches photographs of one individual; those whose places agree in one placement more
often than nearly all pairs of two individuals do become teachers of the second stage. No place is labelled by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.matching.dense import SkinMatcher, skin_verification
from engine.training.pair_mining import DrawnRows, Progress, accept, candidate_pairs, match_pairs
from features.global_descriptor.network_input import flattened
from features.records import Frame, LocalFeatures
from features.skin.descriptors import KIND, STRIDE, SkinSettings, cell_centres, describe_cells, grid_cells
from features.training.data import teaching_rows
from features.training.skin_photos import KnownPair, SkinPhotos
from features.training.skin_settings import SkinTrainSettings

if TYPE_CHECKING:
    from features.skin.network import SkinNetwork

log = logging.getLogger(__name__)
MODEL_NAME = "marks.safetensors"


@dataclass(frozen=True)
class Mined:
    """Pairs of photographs that teach the second stage.

    Attributes:
        pairs: those accepted.
        threshold: plausible inliers from which a pair was accepted.
        tried, accepted: numbers of pairs by kind ("same encounter", "other encounter").
    """

    pairs: tuple[KnownPair, ...]
    threshold: float
    tried: dict[str, int]
    accepted: dict[str, int]


def train_mark_descriptors(
    catalog_table: pd.DataFrame,
    output: Path | str,
    settings: SkinTrainSettings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train on the labelled photographs of a catalogue.

    Args:
        catalog_table: a catalogue's table.
        output: folder for ``marks.safetensors`` and the checkpoints of the two stages.
        settings: see :class:`features.training.skin_settings.SkinTrainSettings`.
        resume: go on from the folder's checkpoints; the settings and photographs must be the same.
        progress: called with records (stage, done, total, loss, accuracy).

    Returns:
        The path of the trained network.

    Raises:
        SettingsError: too few individuals.
        CheckpointError: ``resume`` with checkpoints of other settings or photographs.
    """
    # torch
    from features.training.skin import SkinTrainer, save_trained

    settings = settings or SkinTrainSettings()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    table = teaching_rows(catalog_table, settings.held_out, settings.views)
    photos = SkinPhotos.read(table, settings.input_size, progress)
    first = SkinTrainer(photos, settings, folder, "made-up", progress=progress)
    network = first.run(resume)
    about: dict[str, Any] = {"photographs": len(photos), "individuals": len(first.photos_of)}
    if settings.real_steps:
        mined = mine_pairs(network, photos, settings, progress)
        about |= {"tried": mined.tried, "accepted": mined.accepted, "threshold": mined.threshold}
        log.info("pairs of photographs accepted: %s of %s", mined.accepted, mined.tried)
        if mined.pairs:
            second = SkinTrainer(photos, settings, folder, "real", mined.pairs, progress)
            second.start_from(network)
            network = second.run(resume)
        else:
            log.warning("no two photographs of an individual agree: the second stage is left out")
    path = folder / MODEL_NAME
    save_trained(path, network, settings, about)
    return path


def describe_skin(network: SkinNetwork, photos: SkinPhotos, row: int) -> LocalFeatures:
    """Describe one photograph in memory as :class:`features.skin.descriptors.SkinExtractor` describes a file."""
    body = photos.body[row] > 127
    height, width = body.shape
    picture = flattened(np.repeat(photos.grey[row][:, :, None], 3, axis=2), body)
    cells = grid_cells(body, STRIDE, SkinSettings())
    ones = np.ones(len(cells), np.float32)
    return LocalFeatures(
        xy=cell_centres(cells, STRIDE),
        scores=ones,
        descriptors=describe_cells(network, picture, cells),
        marks=np.zeros(len(cells), np.float32),
        body=ones,
        frame=Frame((width, height)),
        kind=KIND,
    )


def mine_pairs(
    network: SkinNetwork, photos: SkinPhotos, settings: SkinTrainSettings, progress: Progress | None = None
) -> Mined:
    """Find pairs of photographs of one individual whose places agree in one placement.

    A pair is accepted if it has more plausible inliers than all but ``false_rate`` of the pairs of two individuals.
    """
    drawn = candidate_pairs(photos.table, settings)
    described: list[LocalFeatures] = []
    for row in range(len(photos)):
        described.append(describe_skin(network, photos, row))
        if progress is not None and row % 50 == 49:
            progress({"stage": "describing", "done": row + 1, "total": len(photos)})
    scores, places = np.zeros(len(drawn)), []
    matched = match_pairs(described, drawn, SkinMatcher(), skin_verification(), progress)
    for number, (matches, check) in enumerate(matched):
        first, second, _ = drawn[number]
        scores[number] = check.n_inliers * check.plausibility
        rows = matches.indices[check.inliers]
        places.append((described[first].xy[rows[:, 0]], described[second].xy[rows[:, 1]]))
    return _accepted(drawn, scores, places, settings.false_rate)


def _accepted(
    drawn: Sequence[DrawnRows],
    scores: npt.NDArray[np.float64],
    places: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    false_rate: float,
) -> Mined:
    accepted = accept(drawn, scores, false_rate)
    pairs = tuple(KnownPair(drawn[i][0], drawn[i][1], *places[i]) for i in accepted.chosen)
    return Mined(pairs, accepted.threshold, accepted.tried, accepted.accepted)
