"""The plan of a model's training: what is done, what is left out and why, and how long it will take.

Times are those of one core of a current server processor, divided by the cores at work; the first stage measures the
machine, and what is left is told again at its pace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from engine.catalogue.catalog import Catalog, CatalogError
from engine.models.card import Step, duration
from engine.training.fold_parts import PHOTOGRAPH_PARTS
from scarmatch.settings import Settings, SettingsError

PARTS = (*PHOTOGRAPH_PARTS, "ranker")
#: Folds of individuals whose evidence comes from parts that never saw them.
FOLDS = 3
#: Parts that cost far more than all others together.
_NETWORKS = ("skin", "descriptor")
#: Seconds on one core: to describe a photograph, to match a pair by both cheap matchers, to train the metric of
#: keypoints for a photograph and for the impostors of a run, for a step of the skin network, and for one photograph in
#: one pass of the global descriptor's training.
_DESCRIBE, _PAIR, _METRIC, _IMPOSTORS, _SKIN_STEP, SHOWN = 0.6, 0.006, 0.25, 8.0, 2.2, 0.12
#: Seconds on one core to describe a photograph anew by a trained network that takes ``SHOWN`` to learn from it.
_DESCRIBE_ANEW = 0.3
#: Fewest individuals with two photographs: a ranker's folds need a match on either side.
FEWEST_TEACHERS = 4
#: Fewest individuals with two photographs, and photographs, that teach a part more than they let it remember.
_SKIN_NEEDS, _DESCRIPTOR_NEEDS = (20, 100), (40, 200)
#: Individuals with two photographs from which on networks are trained unasked. A descriptor of 145 whales was worse
#: than an untrained one, of 264 better (bench/NOTES.md, "Learning curve over whales"); a skin network of one's own has
#: not been seen to help a smaller catalogue, and would take most of the time (`python -m bench parts`).
NETWORKS_FROM = 250
#: Steps and passes below which a network is not worth its time, and beyond which it gains nothing.
_SKIN_STEPS, _EPOCHS = (150, 500), (6, 20)


@dataclass(frozen=True)
class ModelTrainSettings(Settings):
    """Options of :func:`engine.training.model_training.train_model`.

    Attributes:
        parts: what is trained: "keypoints" (their metric), "skin" (dense descriptors), "descriptor" (the global one)
            and "ranker" (local evidence, ranker and calibration, which always belongs to it). Empty for what is worth
            its time: everything, but the two networks from :data:`NETWORKS_FROM` individuals on only.
        budget: seconds that all may take; networks get what is left, or are skipped.
        backbone: of the global descriptor, as ``train-descriptor`` takes it; "" for EfficientNet-Lite0. Whoever names
            one asks for the descriptor, however small the catalogue is.
        seed: of everything random.
        epochs: of the global descriptor; 0 for as many as the time allows, which differs from machine to machine.
    """

    parts: tuple[str, ...] = ()
    budget: float = 7200.0
    backbone: str = ""
    seed: int = 0
    epochs: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(PARTS))
        if unknown:
            raise SettingsError(f"no part is called {unknown[0]!r}; the parts are {', '.join(PARTS)}")
        if self.backbone and self.parts and "descriptor" not in self.parts:
            raise SettingsError(f"the backbone {self.backbone!r} is of the descriptor, which is none of the parts")
        if self.epochs < 0:
            raise SettingsError("epochs must be 0 or more")
        if self.budget <= 0:
            raise SettingsError(f"a budget of {self.budget} seconds leaves time for nothing")


@dataclass(frozen=True)
class Plan:
    """What a training will do.

    Attributes:
        steps: in order, those that are skipped among them.
        parts: of :data:`engine.training.fold_parts.PHOTOGRAPH_PARTS`, those that are trained.
        queries: photographs asked.
        folds: of individuals.
        skin_steps: of the skin network, 0 where it is not trained.
        epochs: of the global descriptor, 0 where it is not trained.
    """

    steps: tuple[Step, ...]
    parts: tuple[str, ...]
    queries: int
    folds: int
    skin_steps: int
    epochs: int

    @property
    def seconds(self) -> float:
        """What all is expected to take."""
        return sum(step.expected for step in self.steps if not step.skipped)

    def render(self) -> str:
        """Return the plan as lines for a terminal."""
        lines = [f"plan: about {duration(self.seconds)}, {self.folds} folds of individuals"]
        for step in self.steps:
            told = f"skipped: {step.skipped}" if step.skipped else f"about {duration(step.expected)}"
            lines.append(f"  {step.name:<44} {told}")
        return "\n".join(lines)


def teachers_of(table: pd.DataFrame) -> pd.Series:
    """Return individual -> photographs, of those with two or more."""
    counts = table["individual_id"].dropna().value_counts()
    return counts[counts > 1]


def make_plan(
    catalog: Catalog,
    settings: ModelTrainSettings,
    cores: int,
    longest: int,
    shown: float = SHOWN,
    rotations: int = 1,
) -> Plan:
    """Plan a training.

    Args:
        catalog: labelled.
        settings: the parts wanted, and the time.
        cores: at work.
        longest: candidates of one query.
        shown: seconds for one photograph in one pass of the global descriptor's training.
        rotations: in which every photograph is described and asked.

    Raises:
        CatalogError: too few individuals were photographed twice.
    """
    photographs, teachers = len(catalog), teachers_of(catalog.table)
    if len(teachers) < FEWEST_TEACHERS:
        raise CatalogError(
            f"{catalog.root}: {len(teachers)} individual(s) have two photographs; a training needs "
            f"{FEWEST_TEACHERS} at least: name more photographs, or use --model generic as it is"
        )
    folds = min(FOLDS, len(teachers) // 2)
    describing, pair = photographs * rotations * _DESCRIBE / cores, rotations * _PAIR
    left = settings.budget - describing
    steps = [Step("describe every photograph", describing)]
    # Every photograph is asked twice at most: by the parts of the base model and by those of its fold.
    asked = int(teachers.sum())
    affordable = int(0.4 * max(left, 0.0) * cores / (2 * longest * pair))
    queries = min(asked, max(affordable, 2 * len(teachers), 50))
    matching = queries * longest * pair / cores
    left -= 2.5 * matching
    parts, skin_steps, epochs = [], 0, 0
    for part, name in (
        ("keypoints", "metric of keypoints, per fold and for all"),
        ("skin", "dense skin network, per fold and for all"),
        ("descriptor", "global descriptor, per fold and for all"),
    ):
        reason, seconds = "", 0.0
        if settings.parts and part not in settings.parts:
            reason = "not asked for"
        elif not _wanted(part, settings) and len(teachers) < NETWORKS_FROM:
            reason = f"rarely worth its time below {NETWORKS_FROM} individuals; --parts all trains it"
        elif part == "keypoints":
            seconds = (folds + 1) * (photographs * _METRIC + _IMPOSTORS)
            reason = "" if seconds <= left else f"would take {duration(seconds)}, {duration(max(left, 0))} are left"
        else:
            needs = _SKIN_NEEDS if part == "skin" else _DESCRIPTOR_NEEDS
            reason = _too_small(teachers, asked, needs)
            passes = (settings.epochs, settings.epochs) if settings.epochs else _EPOCHS
            unit, (fewest, most) = (1.5 * _SKIN_STEP, _SKIN_STEPS) if part == "skin" else (photographs * shown, passes)
            # A network per fold and one for all, whose photographs are described once more each.
            anew = _DESCRIBE_ANEW * (max(shown / SHOWN, 1.0) if part == "descriptor" else rotations)
            fixed = (folds + 1) * photographs * anew / cores
            amount = min(most, int((left - fixed) / ((folds + 1) * unit)))
            if not reason and amount < fewest:
                needed = fixed + (folds + 1) * unit * fewest
                reason = f"needs {duration(needed)}, {duration(max(left, 0))} of the budget are left"
            if not reason:
                seconds = fixed + (folds + 1) * unit * amount
                skin_steps, epochs = (amount, epochs) if part == "skin" else (skin_steps, amount)
        if not reason:
            parts.append(part)
            left -= seconds
        steps.append(Step(name, seconds, reason))
    steps.append(Step(f"ask {queries:,} photographs as the base model does", matching))
    steps.append(
        Step(f"ask {queries:,} photographs with their fold's parts", matching, "" if parts else "no part is trained")
    )
    steps.append(Step("ranker, calibration, local evidence", 10.0 + queries * longest * 4e-4))
    steps.append(Step("report card", 20.0))
    return Plan(tuple(steps), tuple(parts), queries, folds, skin_steps, epochs)


def _wanted(part: str, settings: ModelTrainSettings) -> bool:
    """Whether a part is trained in any catalogue that is large enough for it."""
    return bool(settings.parts) or part not in _NETWORKS or (part == "descriptor" and bool(settings.backbone))


def _too_small(teachers: pd.Series, photographs: int, needs: Sequence[int]) -> str:
    """Return why a catalogue is too small for a part, "" if it is not."""
    individuals, least = needs
    if len(teachers) < individuals or photographs < least:
        return (
            f"needs {individuals} individuals with two photographs and {least} photographs of them; there are "
            f"{len(teachers)} and {photographs}"
        )
    return ""
