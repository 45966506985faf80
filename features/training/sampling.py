"""Which photographs an epoch shows, and in which order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd


def epoch_order(labels: npt.NDArray[np.integer], power: float, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Indices of one epoch, as many as there are photographs; the same for the same seed and epoch.

    A class of n photographs takes a share proportional to ``n ** power``: 1 is natural (every photograph once), 0.5
    square-root sampling, 0 class-balanced. Drawn systematically, so that within one epoch no photograph is shown
    more than one time more often than another of its class.
    """
    rng = np.random.default_rng([seed, epoch, 0])
    counts = np.bincount(labels)
    weights = counts[labels] ** (power - 1.0)
    order = rng.permutation(len(labels))
    edges = np.cumsum(weights[order])
    edges *= len(labels) / edges[-1]
    picks = np.searchsorted(edges, np.arange(len(labels)) + rng.uniform(0.0, 1.0), side="right")
    chosen = order[np.minimum(picks, len(labels) - 1)]
    return rng.permutation(chosen).astype(np.int64)


def same_day_classes(
    dates: pd.Series, labels: npt.NDArray[np.integer], classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Which classes were photographed on the day of each photograph.

    Args:
        dates: (N,) timestamps; all photographs without a date share one "day" on which every class was seen.
        labels: (N,) class numbers.
        classes: number of classes.

    Returns:
        (N,) number of each photograph's day, and (days, classes) True where a class was seen on that day.
    """
    days = pd.factorize(pd.to_datetime(dates).dt.normalize())[0].astype(np.int64)
    unknown = days < 0
    days[unknown] = days.max(initial=-1) + 1
    seen = np.zeros((int(days.max(initial=0)) + 1, classes), bool)
    seen[days, labels] = True
    if unknown.any():
        seen[-1] = True
    return days, seen
