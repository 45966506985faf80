"""Pairs of photographs that agree so well that they can teach: drawn, looked at, accepted. Nothing is labelled by hand.

Photographs of one individual are compared; those whose correspondences agree in one placement better than nearly all
pairs of two individuals do are accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching.base import PairMatcher
from engine.records import Correspondences, Verification
from features.records import LocalFeatures

Progress = Callable[[dict[str, Any]], None]
#: (row, row, kind): kind is one of :data:`KINDS`, or "impostor" for two individuals.
DrawnRows = tuple[int, int, str]
KINDS = ("same encounter", "other encounter")
_BLOCK = 200  # pairs verified at a time


class PairCounts(Protocol):
    """How many pairs are drawn; every training's settings that mines pairs have all of it."""

    @property
    def same_encounter(self) -> int:
        """Pairs of one encounter, per photograph."""

    @property
    def other_encounter(self) -> int:
        """Pairs of two encounters, per photograph."""

    @property
    def impostors(self) -> int:
        """Pairs of two individuals, in all."""

    @property
    def seed(self) -> int:
        """Of the draw."""


def candidate_pairs(table: pd.DataFrame, settings: PairCounts) -> list[DrawnRows]:
    """Draw pairs of one individual's photographs, of one and of several encounters, and pairs of two individuals.

    Returns:
        (row, row, kind) with kind "same encounter", "other encounter" or "impostor".
    """
    rng = np.random.default_rng([settings.seed, 2])
    who, when = table["individual_id"].to_numpy(object), table["encounter_id"].to_numpy(object)
    named = table["viewpoint"] if "viewpoint" in table else pd.Series("", table.index)
    views = named.fillna("").to_numpy(object)
    pairs: list[DrawnRows] = []
    for name in sorted(set(map(str, who))):
        rows = np.flatnonzero(who == name)
        for row in rows:
            later = rows[rows > row]
            # The two flanks carry different marks; a view that is not known may be any.
            later = later[(views[later] == views[row]) | (views[later] == "") | (views[row] == "")]
            same = later[when[later] == when[row]]
            other = later[when[later] != when[row]]
            for kind, choice, count in (
                ("same encounter", same, settings.same_encounter),
                ("other encounter", other, settings.other_encounter),
            ):
                pairs += [(int(row), int(second), kind) for second in rng.permutation(choice)[:count]]
    impostors: list[DrawnRows] = []
    while len(impostors) < settings.impostors and len(set(map(str, who))) > 1:
        first, second = (int(v) for v in rng.integers(0, len(table), 2))
        if who[first] != who[second]:
            impostors.append((first, second, "impostor"))
    return pairs + impostors


def match_pairs(
    described: Sequence[LocalFeatures],
    drawn: Sequence[DrawnRows],
    matcher: PairMatcher,
    checks: VerificationSettings,
    progress: Progress | None = None,
) -> Iterator[tuple[Correspondences, Verification]]:
    """Match and verify pairs, in the order given.

    Args:
        described: features of the photographs, by row.
        drawn: pairs of rows.
        matcher: finds their correspondences.
        checks: of the verification.
        progress: called with records (stage, done, total).
    """
    for start in range(0, len(drawn), _BLOCK):
        part = drawn[start : start + _BLOCK]
        features = [(described[a], described[b]) for a, b, _ in part]
        matches = matcher.match(features)
        matched = zip(features, matches, part, strict=True)
        verified = verify_many([(a, b, m, (str(p[0]), str(p[1]))) for (a, b), m, p in matched], checks)
        yield from zip(matches, verified, strict=True)
        if progress is not None:
            progress({"stage": "pairing", "done": start + len(part), "total": len(drawn)})


@dataclass(frozen=True, eq=False)
class Accepted:
    """Which pairs teach.

    Attributes:
        chosen: positions of the pairs accepted.
        threshold: score above which a pair was accepted.
        tried, accepted: numbers of pairs by kind (:data:`KINDS`).
    """

    chosen: tuple[int, ...]
    threshold: float
    tried: dict[str, int]
    accepted: dict[str, int]


def accept(drawn: Sequence[DrawnRows], scores: npt.NDArray[np.float64], false_rate: float) -> Accepted:
    """Accept the pairs of one individual that score above all but ``false_rate`` of the pairs of two."""
    kinds = np.array([kind for _, _, kind in drawn], object)
    impostors = scores[kinds == "impostor"]
    threshold = float(np.quantile(impostors, 1 - false_rate, method="higher")) if len(impostors) else 0.0
    fine = (scores > threshold) & (kinds != "impostor")
    return Accepted(
        tuple(np.flatnonzero(fine).tolist()),
        threshold,
        {name: int((kinds == name).sum()) for name in KINDS},
        {name: int((fine & (kinds == name)).sum()) for name in KINDS},
    )
