"""One decision of one reviewer: what it says, of which photographs, and what was on the screen.

Decisions are facts that are only ever added (:mod:`engine.review.decision_table`); what they mean together is their
replay (:mod:`engine.review.replay`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scarmatch.errors import ScarmatchError

PAIR_KINDS = ("same", "different", "cannot_tell", "not_comparable")
"""What can be said of two photographs. The first two are facts: must-link and cannot-link."""

NAMING_KINDS = ("new_individual", "split", "move", "merge", "rename")
"""What gives names: a new individual's photographs, some photographs of an individual that are another (new name) or
another's (a name that exists), one individual that is another, and one that is to be called otherwise."""

KINDS = (*PAIR_KINDS, *NAMING_KINDS, "skip", "undo")
"""All kinds. "skip" puts a question off; "undo" takes back one earlier row, an undo too."""

CONFIDENCES = ("", "guessing", "fairly sure", "certain")
"""How sure the reviewer was; "" where nobody asked."""

_LONGEST_NAME = 200


class ReviewError(ScarmatchError, ValueError):
    """A decision, or the file that holds them, cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Decision:
    """One row of the table of decisions.

    Attributes:
        kind: one of :data:`KINDS`.
        who: the reviewer's name.
        images: the photographs meant. Pairs: exactly two, the query first; "new_individual", "split", "move", "skip":
            one or more; otherwise none.
        name: the name given by "new_individual", "split", "move", "merge" (of the individual that stays) and "rename".
        individual: the individual that "split" takes from, "merge" ends and "rename" calls otherwise.
        target: the row that "undo" takes back.
        confidence: one of :data:`CONFIDENCES`.
        probability: what the engine said of the pair or individual when it was shown, None where it said nothing.
        shown: what else was on the screen, as plain JSON values: the question, the candidate's place, the layers.
        version: of the engine that said so.
        key: made by who asks for the decision; a second row of the same key is never written, so that asking again
            after a broken connection does no harm.
        at: when, as ISO 8601 in UTC; "" until it is written.
        number: of its row, from 1; 0 until it is written.
    """

    kind: str
    who: str
    images: tuple[str, ...] = ()
    name: str = ""
    individual: str = ""
    target: int = 0
    confidence: str = ""
    probability: float | None = None
    shown: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: str = ""
    key: str = ""
    at: str = ""
    number: int = 0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def pair(self) -> tuple[str, str]:
        """The two photographs of a decision on a pair, in the order of their ids."""
        first, second = self.images
        return (first, second) if first <= second else (second, first)

    def replace(self, **changes: Any) -> Decision:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def _check(decision: Decision) -> None:
    kind, images = decision.kind, decision.images
    if kind not in KINDS:
        raise ReviewError(f"there is no decision {kind!r}; choose among {', '.join(KINDS)}")
    if not decision.who.strip():
        raise ReviewError(f"the decision {kind!r} lacks the reviewer's name: say who decides")
    if kind in PAIR_KINDS and (len(images) != 2 or images[0] == images[1]):
        raise ReviewError(f"the decision {kind!r} needs two different photographs, not {', '.join(images) or 'none'}")
    if kind in ("new_individual", "split", "move", "skip") and not images:
        raise ReviewError(f"the decision {kind!r} names no photograph")
    if kind in NAMING_KINDS and not usable_name(decision.name):
        raise ReviewError(
            f"{decision.name!r} is no name for an individual: give 1 to {_LONGEST_NAME} printable letters"
        )
    if kind in ("split", "merge", "rename") and not decision.individual:
        raise ReviewError(f"the decision {kind!r} does not say of which individual")
    if kind == "merge" and decision.individual == decision.name:
        raise ReviewError(f"{decision.name!r} cannot be merged with itself")
    if decision.confidence not in CONFIDENCES:
        raise ReviewError(f"confidence {decision.confidence!r} is unknown; choose among {', '.join(CONFIDENCES[1:])}")
    if kind == "undo" and decision.target < 1:
        raise ReviewError("an undo must name the row that it takes back")
    if decision.probability is not None and not 0 <= decision.probability <= 1:
        raise ReviewError(f"probability {decision.probability} must lie between 0 and 1")


def usable_name(name: str) -> bool:
    """Return whether a text can be an individual's name: printable, not blank, without spaces around it, not too long.

    >>> [usable_name(name) for name in ("Sedna", "", " a", "a\\nb", "x" * 201)]
    [True, False, False, False, False]
    """
    return bool(name) and name == name.strip() and name.isprintable() and len(name) <= _LONGEST_NAME
