"""Train mark descriptors on a labelled catalogue: made-up views first, then pairs of photographs that they find.

The network of the first stage matches photographs of one individual; those whose places agree in one placement more
often than nearly all pairs of two individuals do become teachers of the second stage. No place is labelled by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.evidence import default_mark_verification
from engine.mark_matching import MarkMatcher
from engine.verification import verify_many
from features.mark_descriptors import KIND, MarkSettings, cell_centres, describe_cells, grid_places
from features.records import Frame, LocalFeatures
from features.training.data import from_above, split_half

if TYPE_CHECKING:
    from features.mark_network import MarkNetwork
    from features.training.marks import KnownPair, MarkTrainSettings, SkinPhotos

log = logging.getLogger(__name__)
Progress = Callable[[dict[str, Any]], None]
MODEL_NAME = "marks.safetensors"
_BLOCK = 200  # pairs verified at a time


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
    settings: MarkTrainSettings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train on the labelled photographs from above of a catalogue.

    Args:
        catalog_table: a catalogue's table.
        output: folder for ``marks.safetensors`` and the checkpoints of the two stages.
        settings: see :class:`features.training.marks.MarkTrainSettings`.
        resume: go on from the folder's checkpoints; the settings and photographs must be the same.
        progress: called with records (stage, done, total, loss, accuracy).

    Returns:
        The path of the trained network.

    Raises:
        SettingsError: too few individuals.
        CheckpointError: ``resume`` with checkpoints of other settings or photographs.
    """
    from features.training.marks import MarkTrainer, MarkTrainSettings, SkinPhotos, save_trained

    settings = settings or MarkTrainSettings()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    table = catalog_table[catalog_table["individual_id"].notna()]
    table = table[from_above(table)]
    if settings.held_out == "half":
        table = table[[split_half(str(name)) == 0 for name in table["individual_id"]]]
    photos = SkinPhotos.read(table, settings.input_size, progress)
    first = MarkTrainer(photos, settings, folder, "made-up", progress=progress)
    network = first.run(resume)
    about: dict[str, Any] = {"photographs": len(photos), "individuals": len(first.photos_of)}
    if settings.real_steps:
        mined = mine_pairs(network, photos, settings, progress)
        about |= {"tried": mined.tried, "accepted": mined.accepted, "threshold": mined.threshold}
        log.info("pairs of photographs accepted: %s of %s", mined.accepted, mined.tried)
        if mined.pairs:
            second = MarkTrainer(photos, settings, folder, "real", mined.pairs, progress)
            second.start_from(network)
            network = second.run(resume)
        else:
            log.warning("no two photographs of an individual agree: the second stage is left out")
    path = folder / MODEL_NAME
    save_trained(path, network, settings, about)
    return path


def describe_skin(network: MarkNetwork, photos: SkinPhotos, row: int) -> LocalFeatures:
    """Describe one photograph in memory as :class:`features.mark_descriptors.MarkExtractor` describes a file."""
    from features.mark_network import STRIDE
    from features.network_input import flattened

    body = photos.body[row] > 127
    height, width = body.shape
    picture = flattened(np.repeat(photos.grey[row][:, :, None], 3, axis=2), body)
    cells = grid_places(body, STRIDE, MarkSettings())
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


class PairCounts(Protocol):
    """How many pairs are drawn (:class:`features.training.marks.MarkTrainSettings` has all of it)."""

    @property
    def same_encounter(self) -> int:
        """Pairs of one encounter, per photograph."""

    @property
    def other_encounter(self) -> int:
        """Pairs of two encounters, per photograph."""

    @property
    def impostors(self) -> int:
        """Pairs of two individuals, in all."""

    @property
    def seed(self) -> int:
        """Of the draw."""


def candidate_pairs(table: pd.DataFrame, settings: PairCounts) -> list[tuple[int, int, str]]:
    """Draw pairs of one individual's photographs, of one and of several encounters, and pairs of two individuals.

    Returns:
        (row, row, kind) with kind "same encounter", "other encounter" or "impostor".
    """
    rng = np.random.default_rng([settings.seed, 2])
    who, when = table["individual_id"].to_numpy(object), table["encounter_id"].to_numpy(object)
    pairs: list[tuple[int, int, str]] = []
    for name in sorted(set(map(str, who))):
        rows = np.flatnonzero(who == name)
        for row in rows:
            later = rows[rows > row]
            same = later[when[later] == when[row]]
            other = later[when[later] != when[row]]
            for kind, choice, count in (
                ("same encounter", same, settings.same_encounter),
                ("other encounter", other, settings.other_encounter),
            ):
                pairs += [(int(row), int(second), kind) for second in rng.permutation(choice)[:count]]
    impostors: list[tuple[int, int, str]] = []
    while len(impostors) < settings.impostors and len(set(map(str, who))) > 1:
        first, second = (int(v) for v in rng.integers(0, len(table), 2))
        if who[first] != who[second]:
            impostors.append((first, second, "impostor"))
    return pairs + impostors


def mine_pairs(
    network: MarkNetwork, photos: SkinPhotos, settings: MarkTrainSettings, progress: Progress | None = None
) -> Mined:
    """Find pairs of photographs of one individual whose places agree in one placement.

    A pair is accepted if it has more plausible inliers than all but ``false_rate`` of the pairs of two individuals.
    """
    from features.training.marks import KnownPair

    drawn = candidate_pairs(photos.table, settings)
    described: list[LocalFeatures] = []
    for row in range(len(photos)):
        described.append(describe_skin(network, photos, row))
        if progress is not None and row % 50 == 49:
            progress({"stage": "describing", "done": row + 1, "total": len(photos)})
    matcher, checks = MarkMatcher(), default_mark_verification()
    scores, places = np.zeros(len(drawn)), []
    for start in range(0, len(drawn), _BLOCK):
        part = drawn[start : start + _BLOCK]
        features = [(described[a], described[b]) for a, b, _ in part]
        matches = matcher.match(features)
        found = verify_many(
            [(a, b, m, (str(p[0]), str(p[1]))) for (a, b), m, p in zip(features, matches, part, strict=True)], checks
        )
        for number, ((a, b), m, check) in enumerate(zip(features, matches, found, strict=True)):
            scores[start + number] = check.n_inliers * check.plausibility
            rows = m.indices[check.inliers]
            places.append((a.xy[rows[:, 0]], b.xy[rows[:, 1]]))
        if progress is not None:
            progress({"stage": "pairing", "done": start + len(part), "total": len(drawn)})
    return _accepted(drawn, scores, places, settings.false_rate, KnownPair)


def _accepted(
    drawn: Sequence[tuple[int, int, str]],
    scores: npt.NDArray[np.float64],
    places: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    false_rate: float,
    make: type[KnownPair],
) -> Mined:
    kinds = np.array([kind for _, _, kind in drawn], object)
    impostors = scores[kinds == "impostor"]
    threshold = float(np.quantile(impostors, 1 - false_rate, method="higher")) if len(impostors) else 0.0
    fine = (scores > threshold) & (kinds != "impostor")
    pairs = tuple(make(drawn[i][0], drawn[i][1], *places[i]) for i in np.flatnonzero(fine).tolist())
    names = ("same encounter", "other encounter")
    return Mined(
        pairs,
        threshold,
        {name: int((kinds == name).sum()) for name in names},
        {name: int((fine & (kinds == name)).sum()) for name in names},
    )
