"""What ``scarmatch identify`` decides by and a model is tuned to: bounds of the vote, weights of the blend."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scarmatch.settings import Settings, SettingsError


@dataclass(frozen=True)
class Decision(Settings):
    """Who a photograph shows, and when the animal is new: what the command's options replace for one run.

    Attributes:
        neighbours: photographs that vote (head "knn").
        max_distance: cosine distance of the nearest photograph beyond which the animal is new (head "knn").
        min_confidence: the same bound from the other side: 1 - distance must reach it.
        new_odds: odds of a new animal beforehand (head "ranker").
        classifier_weight: of what the model's trained head says, 0 to 1 (head "ranker").
    """

    neighbours: int = 50
    max_distance: float = 0.62
    min_confidence: float = 0.38
    new_odds: float = 1.0
    classifier_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 <= self.classifier_weight <= 1 or not 0 < self.new_odds < math.inf:
            raise SettingsError(
                f"neighbours={self.neighbours} must be at least 1, classifier_weight={self.classifier_weight} from 0 "
                f"to 1, and new_odds={self.new_odds} positive"
            )
        if not (math.isfinite(self.max_distance) and math.isfinite(self.min_confidence)):
            raise SettingsError("max_distance and min_confidence must be finite")
