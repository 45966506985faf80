"""The parts of a model that see photographs, trained on some of the individuals: what a fold's figures rest on.

Parts that a photograph's own individual taught flatter every figure of it. So each fold of individuals is asked with
parts that were trained on the others, and what a model holds in the end is trained on all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.catalogue.catalog import Catalog
from engine.models.bundle import GLOBAL_OPTION, METRIC_OPTION, SKIN_OPTION
from engine.training.keypoint_training import train_keypoint_metric
from engine.training.skin_training import train_mark_descriptors
from features.keypoints.metric import MODEL_NAME as METRIC_NAME
from features.training.settings import TrainSettings
from features.training.skin_settings import SkinTrainSettings
from scarmatch.settings import SettingsError

if TYPE_CHECKING:
    from engine.search.matcher import Matcher

log = logging.getLogger(__name__)
Progress = Callable[[dict[str, Any]], None]
#: Holds the reason why the photographs teach a part nothing.
_NOTHING = "{}-nothing.txt"

#: Parts that see photographs -> the option of the engine that names their file.
PHOTOGRAPH_PARTS: Mapping[str, str] = {"keypoints": METRIC_OPTION, "skin": SKIN_OPTION, "descriptor": GLOBAL_OPTION}


@dataclass(frozen=True)
class FoldSettings:
    """How the parts are trained.

    Attributes:
        skin: of the skin network.
        descriptor: of the global descriptor.
        seed: of the metric of keypoints.
    """

    skin: SkinTrainSettings
    descriptor: TrainSettings
    seed: int = 0


def train_part(
    part: str,
    catalog: Catalog,
    matcher: Matcher,
    folder: Path,
    settings: FoldSettings,
    progress: Progress | None = None,
) -> Path | None:
    """Train one part on a catalogue, or find it trained; None where the photographs teach it nothing.

    A stopped training goes on from its checkpoint; what is finished is not trained again.

    Args:
        part: one of :data:`PHOTOGRAPH_PARTS`.
        catalog: labelled; everybody in it teaches.
        matcher: describes the photographs.
        folder: where the part, its checkpoints, and the reason of a failure go.
        settings: of the trainings.
        progress: called with the trainings' records.
    """
    target, nothing = folder / _FILES[part], folder / _NOTHING.format(part)
    if target.is_file():
        return target
    if nothing.is_file():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _TRAIN[part](catalog, matcher, folder, settings, progress)
    except SettingsError as error:
        log.info("%s teach the part %r nothing: %s", folder.name, part, error)
        nothing.write_text(f"{error}\n", encoding="utf-8")
        return None
    return target


def reason_of_nothing(part: str, folder: Path) -> str:
    """Return why :func:`train_part` returned None for a part and a folder."""
    return (folder / _NOTHING.format(part)).read_text(encoding="utf-8").strip()


def _train_keypoints(
    catalog: Catalog, matcher: Matcher, folder: Path, settings: FoldSettings, progress: Progress | None
) -> None:
    from features.training.keypoint_metric import KeypointTrainSettings  # loads torch

    chosen = KeypointTrainSettings(held_out="none", views="all", rounds=2, impostors=1000, seed=settings.seed)
    train_keypoint_metric(catalog, matcher, folder / "keypoints", chosen, progress)


def _train_skin(
    catalog: Catalog, matcher: Matcher, folder: Path, settings: FoldSettings, progress: Progress | None
) -> None:
    train_mark_descriptors(catalog.table, folder / "skin", settings.skin, resume=True, progress=progress)


def _train_descriptor(
    catalog: Catalog, matcher: Matcher, folder: Path, settings: FoldSettings, progress: Progress | None
) -> None:
    from features.training.loop import train_descriptor  # loads torch

    def show(record: dict[str, Any]) -> None:
        if progress is not None:
            progress({"stage": f"epoch {record['epoch'] + 1}", "done": record["step"], "total": record["steps"]})

    train_descriptor(catalog.table, folder / "descriptor", settings.descriptor, resume=True, progress=show)


_TRAIN = {"keypoints": _train_keypoints, "skin": _train_skin, "descriptor": _train_descriptor}
_FILES = {
    "keypoints": Path("keypoints") / METRIC_NAME,
    "skin": Path("skin") / "marks.safetensors",
    "descriptor": Path("descriptor") / "model.safetensors",
}
