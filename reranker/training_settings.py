"""Options of the ranker's training, and what nobody sets of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reranker.ranker import Kind
from scarmatch.errors import ScarmatchError
from scarmatch.settings import Settings, SettingsError

#: From the simplest: a kind must beat those before it by :data:`MIN_GAIN` to be chosen.
KINDS: tuple[Kind, ...] = ("logistic", "lambdamart", "blend")
#: The protocol that chooses the kind: animals seen on another occasion are what a biologist looks for. Where the table
#: lacks the columns for it, "all" takes its place.
SELECT_ON = "other_encounter"
#: The protocol whose probabilities are calibrated: what a user is shown holds photographs of the query's encounter too.
CALIBRATE_ON = "all"
#: mAP that a less simple kind must win to be chosen: less than a list of hundreds can tell apart.
MIN_GAIN = 0.001


class TrainingError(ScarmatchError, ValueError):
    """The table cannot train a ranker; the message says what is missing."""


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Options of :func:`train_ranker`.

    Attributes:
        kind: the ranker's kind, or "auto": the best by out-of-fold mAP on :data:`SELECT_ON`.
        folds: number of folds of individuals.
        seed: of the folds.
        valid_share: share of a fold's training individuals held out for early stopping.
        drop_same_encounter: train on lists without the photographs of the query's own encounter (the harder question).
        same_encounter_weight: weight of those rows where they are kept. They teach what a sure match looks like, but at
            full weight also that a match is of the same day (measured on the real photographs, see bench/NOTES.md).
        rescoring: let a list's other candidates raise a score (:mod:`reranker.neighbour_rescoring`), where the table
            names them.
        top: number of candidates shown (mAP@top).
    """

    kind: Literal["auto", "logistic", "lambdamart", "blend"] = "auto"
    folds: int = 5
    seed: int = 0
    valid_share: float = 0.2
    drop_same_encounter: bool = False
    same_encounter_weight: float = 0.3
    rescoring: bool = True
    top: int = 20

    def __post_init__(self) -> None:
        if self.kind != "auto" and self.kind not in KINDS:
            raise SettingsError(f"kind must be 'auto' or one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.folds < 2 or not 0 < self.valid_share < 1 or self.same_encounter_weight <= 0:
            raise SettingsError("folds must be at least 2, valid_share within (0, 1), same_encounter_weight positive")
