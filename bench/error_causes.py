"""Causes of failure that can be measured: what a photograph is like, and what that does to its answers."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from engine.catalogue.index import CatalogIndex, refs_of
from features.describe import Describer
from features.photo import PhotoError
from features.records import FloatArray
from reranker.metrics import bootstrap_by_group

logger = logging.getLogger(__name__)
#: A query lies in the worst fifth of a measure: that measure is a likely cause.
WORST_SHARE = 0.2


@dataclass(frozen=True)
class Cause:
    """A measurable cause: its column, what it is called, and whether little or much of it is bad."""

    column: str
    name: str
    bad: str
    little_is_bad: bool = True


CAUSES = (
    Cause("length", "longer side, pixels", "low resolution"),
    Cause("sharpness", "sharpness", "blurred"),
    Cause("body_share", "share of visible body", "little body"),
    Cause("marks", "keypoints on marks", "few marks"),
    Cause("brightness", "brightness of the skin, grey levels", "dark skin (calf)"),
    Cause("light_gap", "lit flank unlike its matches'", "other light", False),
    Cause("days", "days to the nearest match", "long ago", False),
    Cause("matches", "matches in the catalogue", "few matches"),
)


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
    """Measures of a catalogue's photographs, each taken once."""

    def __init__(self, index: CatalogIndex, describer: Describer) -> None:
        self.index = index
        self.describer = describer
        self._light: dict[str, Light] = {}

    @cached_property
    def plain(self) -> pd.DataFrame:
        """Resolution, sharpness, share of visible body, indexed by image id."""
        found = self.index.descriptions
        return pd.DataFrame(
            {
                "length": [max(item.size) for item in found],
                "sharpness": [item.sharpness for item in found],
                "body_share": [item.body_share for item in found],
            },
            index=pd.Index(self.index.catalog.ids),
            dtype=float,
        )

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
    widths = skin.sum(1)
    columns = np.arange(skin.shape[1])
    middle = (skin * columns).sum(1) / np.maximum(widths, 1)
    left = skin & (columns[None, :] < middle[:, None])
    right = skin & (columns[None, :] > middle[:, None])
    if not from_above or not left.any() or not right.any():
        return Light(brightness, math.nan)
    a, b = float(grey[left].mean()), float(grey[right].mean())
    return Light(brightness, (b - a) / max(a + b, 1e-9))


def likely_causes(table: pd.DataFrame) -> list[list[str]]:
    """Return, per query, the measures in which it lies in the worst fifth."""
    found: list[list[str]] = [[] for _ in range(len(table))]
    for cause in CAUSES:
        values = badness(table, cause)
        known = values[~np.isnan(values)]
        if len(known) < 1 / WORST_SHARE or np.ptp(known) == 0:
            continue
        limit = np.quantile(known, 1 - WORST_SHARE)
        for row in np.flatnonzero(values >= limit):
            found[row].append(cause.bad)
    return found


def badness(table: pd.DataFrame, cause: Cause) -> npt.NDArray[np.float64]:
    values = table[cause.column].to_numpy(float)
    return -values if cause.little_is_bad else values


def by_cause(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return, per measure, the worst, middle and best third of the queries with their figures and rank correlation.

    ``correlation`` is Spearman's between average precision and the measure's good side: positive where it matters, None
    where all lists are worth the same.
    """
    records = []
    for cause in CAUSES:
        known = table[table[cause.column].notna()]
        if len(known) < 6 or known[cause.column].nunique() < 3:
            continue
        order = np.argsort(-badness(known, cause), kind="stable")
        thirds = []
        for part in np.array_split(order, 3):
            rows = known.iloc[part]
            values, who = rows[cause.column], rows["individual_id"].to_numpy(str)
            thirds.append(
                {
                    "least": float(values.min()),
                    "most": float(values.max()),
                    "queries": len(rows),
                    "map20": bootstrap_by_group(rows["ap20"].to_numpy(float), who)._asdict(),
                    "top1": bootstrap_by_group(rows["top1"].to_numpy(float), who)._asdict(),
                }
            )
        worth = known["ap20"].to_numpy(float)
        rho = float(spearmanr(-badness(known, cause), worth).statistic) if np.ptp(worth) else None
        failed = known[~known["top1"].astype(bool)]
        records.append(
            {
                "cause": cause.name,
                "bad": cause.bad,
                "thirds": dict(zip(("worst", "middle", "best"), thirds, strict=True)),
                "correlation": rho,
                "share_of_failures": float(np.mean([cause.bad in c for c in failed["causes"]])) if len(failed) else 0.0,
                "share_of_all": float(np.mean([cause.bad in c for c in known["causes"]])),
            }
        )
    return records
