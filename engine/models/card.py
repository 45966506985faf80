"""What is said of a trained model: the plan and its times, cross-validated figures, and whether it is worth using."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One piece of a training's work.

    Attributes:
        name: what is done.
        expected: seconds that it was expected to take.
        skipped: why it is left out, "" where it is done.
        taken: seconds that it took, NaN before it is done.
    """

    name: str
    expected: float
    skipped: str = ""
    taken: float = math.nan


@dataclass(frozen=True)
class MethodFigures:
    """How well one way of answering does on photographs of individuals that its trained parts never saw.

    Attributes:
        queries, individuals: with a match in the catalogue: those that the figures are of.
        map20: mAP@20, and the ends of its 95 % interval over individuals.
        top1, top5: share of the queries with a match first, and among the first five photographs.
        individual_top1, individual_top5: the same for ranked individuals.
        new_auroc: how well known and new individuals are told apart (0.5: not at all, 1: always); each query is asked
            twice, with its individual's photographs in the list and without them.
        calibration_error: expected calibration error of the first 20 of every list.
    """

    queries: int
    individuals: int
    map20: tuple[float, float, float]
    top1: float
    top5: float
    individual_top1: float
    individual_top5: float
    new_auroc: float
    calibration_error: float


@dataclass(frozen=True)
class WorstAnswer:
    """A query whose first answer is wrong.

    Attributes:
        query_id, individual: what was asked, and who it is.
        image_id, answer: the photograph that was answered first, and whom it shows.
        probability: that was given to it.
        true_image_id, true_place: the best right photograph ("" if none was listed) and its place, 0 if not listed.
    """

    query_id: str
    individual: str
    image_id: str
    answer: str
    probability: float
    true_image_id: str
    true_place: int


@dataclass(frozen=True)
class ReportCard:
    """Everything that is told of a model after its training.

    Attributes:
        name: of the model.
        base: the model that it started from.
        photographs, individuals, teachers: of the catalogue; teachers have two photographs or more.
        folds: folds of individuals.
        protocol: whose matches count: "all", or "other_encounter" where photographs of one occasion are known.
        steps: what was done, skipped, and how long it took.
        methods: method -> its figures; the base model first.
        chosen: the method that the model holds.
        gain: mAP@20 over the base model, paired by query, with the ends of its 95 % interval over individuals.
        reliability: (mean probability, observed share, pairs) of the bins of the chosen method's first 20 answers.
        worst: its worst answers.
    """

    name: str
    base: str
    photographs: int
    individuals: int
    teachers: int
    folds: int
    protocol: str
    steps: tuple[Step, ...]
    methods: Mapping[str, MethodFigures]
    chosen: str
    gain: tuple[float, float, float]
    reliability: tuple[tuple[float, float, int], ...]
    worst: tuple[WorstAnswer, ...]

    @property
    def question(self) -> str:
        """What was asked, in words."""
        if self.protocol == "all":
            return "every photograph against all others"
        return "every photograph against those of other encounters"

    @property
    def planned_seconds(self) -> float:
        """What all was expected to take."""
        return sum(step.expected for step in self.steps if not step.skipped)

    @property
    def taken_seconds(self) -> float:
        """What all that was timed took; a stopped run's time is not in it."""
        return sum(step.taken for step in self.steps if not step.skipped and not math.isnan(step.taken))

    @property
    def worth_using(self) -> bool:
        """True if it is better than the base model, and not by chance."""
        return self.gain[1] > 0

    @property
    def better(self) -> bool:
        """True if it is better than the base model, be it by chance."""
        return self.gain[0] > 0

    @property
    def verdict(self) -> str:
        """One sentence: is it worth using?"""
        gain, low, high = self.gain
        told = f"mAP@20 {gain:+.3f} over {self.base!r} (95 % interval {low:+.3f} to {high:+.3f} over individuals)"
        if self.worth_using:
            return f"Worth using: {told}."
        if self.better:
            return f"No clear gain: {told}. More photographs of more individuals would tell; until then use either."
        return f"Not worth using: {told}. Go on with --model {self.base}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, None for what is not known."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return {**plain, "worth_using": self.worth_using, "verdict": self.verdict}


def duration(seconds: float) -> str:
    """Return a time in words: "40 s", "12 min", "1.5 h"; "" for what was not timed."""
    if math.isnan(seconds):
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
