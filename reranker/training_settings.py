"""Options of the ranker's training, and what nobody sets of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reranker.ranker import Kind
from scarmatch.errors import ScarmatchError
from scarmatch.settings import Settings, SettingsError

#: From the simplest: a kind must beat those before it by :data:`MIN_GAIN` to be chosen.
KINDS: tuple[Kind, ...] = ("logistic", "lambdamart", "blend")
#: The protocols that choose the kind, by the mean of both: the own encounter is in the catalogue, or it is not. Where
#: the table lacks the columns for the latter, the former decides.
SELECT_ON = ("all", "other_encounter")
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
        rescoring: let a list's other candidates raise a score (:mod:`reranker.neighbour_rescoring`), where the table
            names them.
        top: number of candidates shown (mAP@top).
    """

    kind: Literal["auto", "logistic", "lambdamart", "blend"] = "auto"
    folds: int = 5
    seed: int = 0
    valid_share: float = 0.2
    rescoring: bool = True
    top: int = 20

    def __post_init__(self) -> None:
        if self.kind != "auto" and self.kind not in KINDS:
            raise SettingsError(f"kind must be 'auto' or one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.folds < 2 or not 0 < self.valid_share < 1:
            raise SettingsError("folds must be at least 2, valid_share within (0, 1)")
