"""From the scores of whole lists to probabilities: one curve for all places, and a higher one for the first.

Whatever leads a list has beaten all others that could have been right, so that it is right more often than the same
score is elsewhere. Its probability is that of the higher of two curves, one fitted on all places, one on first places
alone. First places are raised only, so that no order changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker.calibration import Calibration, Values


@dataclass(frozen=True)
class ListCalibration:
    """Two fitted curves.

    Attributes:
        every: of all places.
        first: of the first place of a list; None where too few lists could teach it.
    """

    every: Calibration = field(default_factory=Calibration)
    first: Calibration | None = None

    def __call__(self, scores: npt.ArrayLike, places: npt.NDArray[np.int64]) -> Values:
        """Return (rows,) probabilities in (0, 1) of scores and their places in their lists, from 0."""
        probabilities = self.every(scores)
        if self.first is None:
            return probabilities
        return np.where(places == 0, np.maximum(probabilities, self.first(scores)), probabilities)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"every": self.every.to_dict(), "first": None if self.first is None else self.first.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ListCalibration:
        """Rebuild from :meth:`to_dict`; a single curve, as older files hold it, is one for all places."""
        if "every" not in data:
            return cls(Calibration.from_dict(data))
        first = data["first"]
        return cls(Calibration.from_dict(data["every"]), None if first is None else Calibration.from_dict(first))
