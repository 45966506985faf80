"""What a photograph is like: measures of which little, or much, may be why it is not found."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.context import Context
from engine.catalogue.index import CatalogIndex, refs_of
from features.describe import Describer
from features.photo import PhotoError
from features.records import FloatArray
from features.store import FeatureStore
from scarmatch.metrics import Interval, bootstrap_by_group

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Light:
    """How a photograph is lit.

    Attributes:
        brightness: mean grey level of the visible body, 0 to 255.
        side: (right - left) / (right + left) of the two flanks' mean grey levels, head up; NaN for lateral views.
    """

    brightness: float
    side: float


class Photographs:
    """Measures of an index's photographs, each taken once."""

    def __init__(self, index: CatalogIndex, context: Context) -> None:
        self.index = index
        self.describer = Describer(context.settings.describe, FeatureStore(context.store))
        self._light: dict[str, Light] = {}

    @cached_property
    def plain(self) -> pd.DataFrame:
        """Longer side in pixels, sharpness, share of visible body, indexed by image id."""
        found = self.index.descriptions
        columns = {
            "length": [max(item.size) for item in found],
            "sharpness": [item.sharpness for item in found],
            "body_share": [item.body_share for item in found],
        }
        return pd.DataFrame(columns, index=pd.Index(self.index.catalog.ids), dtype=float)

    def marks(self, image_id: str) -> float:
        """Return the number of keypoints that lie on a mark."""
        key = self.index.descriptions[self.index.catalog.position(image_id)].key
        return float((self.describer.local(key).marks > 0.5).sum())

    def light(self, image_id: str) -> Light:
        """Return how a photograph is lit (NaN where it cannot be read any more)."""
        if image_id not in self._light:
            ref = refs_of(self.index.catalog.subset([image_id]))[0]
            try:
                photo, frame = self.describer.read(ref)
                body = frame.turn(self.describer.regions(photo, frame).body)
                self._light[image_id] = light_of(frame.turn(photo.rgb), body, ref.viewpoint == "top")
            except PhotoError as error:
                logger.warning("not measured: %s", error)
                self._light[image_id] = Light(math.nan, math.nan)
        return self._light[image_id]


def light_of(rgb: npt.NDArray[np.uint8], body: FloatArray, from_above: bool) -> Light:
    """Measure the light on a head-up photograph.

    Args:
        rgb: (H, W, 3) uint8, head up.
        body: (H, W) certainty of visible skin in [0, 1].
        from_above: whether left and right of the body's middle are its two flanks.
    """
    grey = rgb.astype(np.float64).mean(2)
    skin = body >= 0.5
    if not skin.any():
        return Light(math.nan, math.nan)
    brightness = float(grey[skin].mean())
    columns = np.arange(skin.shape[1])
    middle = (skin * columns).sum(1) / np.maximum(skin.sum(1), 1)
    left, right = (skin & side for side in (columns < middle[:, None], columns > middle[:, None]))
    if not from_above or not left.any() or not right.any():
        return Light(brightness, math.nan)
    a, b = float(grey[left].mean()), float(grey[right].mean())
    return Light(brightness, (b - a) / max(a + b, 1e-9))


@dataclass(frozen=True)
class Third:
    """A third of the cases by some measure: its range there, the number of cases and what they earn."""

    least: float
    most: float
    cases: int
    earned: Interval


def thirds_by(
    badness: npt.NDArray[np.float64],
    earned: npt.NDArray[np.float64],
    individuals: npt.NDArray[np.str_],
    values: npt.NDArray[np.float64],
) -> tuple[Third, Third, Third] | None:
    """Return what the worst, middle and best third of the cases earn, with intervals over individuals.

    Args:
        badness: (N,) what the cases are ordered by, the worst first; NaN is left out.
        earned: (N,) what each earns.
        individuals: (N,) of each case.
        values: (N,) the measure as it is told.

    Returns:
        None for fewer than six cases, or where all are alike.
    """
    known = np.flatnonzero(np.isfinite(badness))
    if len(known) < 6 or np.ptp(badness[known]) == 0:
        return None
    order = known[np.argsort(-badness[known], kind="stable")]
    worst, middle, best = (
        Third(
            float(values[part].min()),
            float(values[part].max()),
            len(part),
            bootstrap_by_group(earned[part], individuals[part]),
        )
        for part in np.array_split(order, 3)
    )
    return worst, middle, best
