"""How a question stands: which individuals it may be, with all decisions applied.

Probabilities are those of :mod:`engine.search.individuals`, computed with the decisions as facts: a rejected individual
leaves, and what it leaves goes to the others and to "not in the catalogue"; a photograph that was linked with the
question adds its own answers to it. Candidates without a name are no rivals of named ones, because they may be one of
them: they have the probability that their photographs give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from engine.review.links import Node
from engine.review.questions import Question
from engine.review.replay import ReviewState
from engine.search.individuals import combine, exclusive

OPEN, DECIDED, CONTRADICTORY, NO_MATCH, WAITING = (
    "open",
    "decided",
    "contradictory",
    "no match found",
    "not matched yet",
)
STATUSES = (OPEN, NO_MATCH, CONTRADICTORY, DECIDED, WAITING)
"""Every status of a question."""

#: Photograph of the catalogue -> probability that it shows the animal of the photograph asked.
Answer: TypeAlias = Mapping[str, float]


@dataclass(frozen=True)
class Candidate:
    """One individual that a question may be, or a group of photographs that has no name yet.

    Attributes:
        name: of the individual, None if it has none.
        images: its photographs among the answers: those of the question's own viewpoint first, then by probability.
        chances: of each of them.
        probability: that it is this one.
        said: what a reviewer said of it that settles it for now without being a link ("cannot_tell",
            "not_comparable", or "open" where a further vote is asked for), "" if nothing.
    """

    name: str | None
    images: tuple[str, ...]
    chances: tuple[float, ...]
    probability: float
    said: str = ""


@dataclass(frozen=True)
class Standing:
    """How a question stands.

    Attributes:
        question: what is asked.
        status: one of :data:`STATUSES`.
        name: who it is, "" if that is not decided.
        candidates: who it may be, the most probable first (those without a name count half), those that were put aside
            last; nobody who was rejected.
        rejected: names of the individuals that it is not.
        new: probability that it is nobody of the catalogue.
        linked: further photographs that were said to show the same animal.
        number: of the last decision that speaks of it, 0 if there is none.
    """

    question: Question
    status: str
    name: str
    candidates: tuple[Candidate, ...]
    rejected: tuple[str, ...]
    new: float
    linked: tuple[str, ...]
    number: int = 0

    @property
    def best(self) -> Candidate | None:
        """The most probable candidate that nobody put aside."""
        return next((one for one in self.candidates if not one.said), None)

    @cached_property
    def settles(self) -> float:
        """How much an answer about the best candidate would settle: its entropy in bits, for each photograph asked.

        An even chance settles most; what is as good as certain settles little, and so does the first of many candidates
        none of which is likely, although who it is would be open indeed. 0 for what is decided.
        """
        if self.status not in (OPEN, CONTRADICTORY) or self.best is None:
            return 0.0
        yes = self.best.probability
        bits = -sum(p * math.log2(p) for p in (yes, 1.0 - yes) if p > 0)
        return bits * (len(self.question.images) + len(self.linked))


def standing_of(
    question: Question,
    answers: Mapping[str, Answer],
    state: ReviewState,
    viewpoints: Mapping[str, str],
    contradictory: frozenset[str] = frozenset(),
) -> Standing:
    """Return how a question stands.

    Args:
        question: what is asked.
        answers: photograph asked -> its answer; photographs that were not asked yet are left out.
        state: the replay of all decisions.
        viewpoints: photograph -> viewpoint, of those where it is known.
        contradictory: the photographs that take part in contradictions.
    """
    group = list(dict.fromkeys(image for own in question.images for image in state.group(own)))
    own = set(question.images)
    asked = [image for image in (*question.images, *(other for other in group if other not in own)) if image in answers]
    names = {state.name(image) for image in question.images}
    name = next(iter(names)) if len(names) == 1 else None
    found = _candidates(question, group, [answers[image] for image in asked], state, viewpoints)
    if contradictory.intersection(question.images):
        status = CONTRADICTORY
    elif name is not None:
        status = DECIDED
    elif not any(image in answers for image in question.images):
        status = WAITING
    else:
        status = OPEN if any(not one.said for one in found) else NO_MATCH
    rejected: set[str] = set()
    for image in question.images:
        rejected |= state.rejected(image)[0]
    new = 1.0 - sum(one.probability for one in found if one.name is not None)
    return Standing(
        question,
        status,
        name or "",
        tuple(found) if status != DECIDED else (),
        tuple(sorted(rejected)),
        min(max(new, 0.0), 1.0),
        tuple(image for image in group if image not in own and state.base.get(image) is None),
        max((vote.number for image in question.images for vote in state.votes_on(image)), default=0),
    )


def _candidates(
    question: Question,
    group: Sequence[str],
    answers: Sequence[Answer],
    state: ReviewState,
    viewpoints: Mapping[str, str],
) -> list[Candidate]:
    """Return the candidates that nobody rejected, in the order in which they are looked at."""
    best: dict[str, float] = {}
    for answer in answers:
        for image, chance in answer.items():
            best[image] = max(best.get(image, 0.0), chance)
    for image in group:
        best.pop(image, None)
    gone_names: set[str] = set()
    gone_groups: set[str] = set()
    for image in question.images:
        more_names, more_groups = state.rejected(image)
        gone_names |= more_names
        gone_groups |= more_groups
    members: dict[Node, list[str]] = {}
    for image in best:
        who = state.name(image)
        node: Node = ("name", who) if who is not None else state.links.group(image)
        if (who in gone_names) if who is not None else (node in gone_groups):
            continue
        members.setdefault(node, []).append(image)
    weights = {node: combine([best[image] for image in images]) for node, images in members.items()}
    named = [node for node in members if isinstance(node, tuple)]
    shares = dict(zip(named, exclusive([weights[node] for node in named]), strict=True))
    view = question.viewpoint
    found = []
    for node, images in members.items():
        images.sort(key=lambda image: (viewpoints.get(image, "") != view and bool(view), -best[image], image))
        found.append(
            Candidate(
                node[1] if isinstance(node, tuple) else None,
                tuple(images),
                tuple(best[image] for image in images),
                shares.get(node, weights[node]) if isinstance(node, tuple) else weights[node],
                _said(question, images, state),
            )
        )
    found.sort(key=lambda one: (bool(one.said), -_weight(one), one.name or "", one.images[0]))
    return found


def _weight(one: Candidate) -> float:
    """Return what candidates are ordered by: a name settles more than a likeness to another unnamed photograph."""
    return one.probability if one.name is not None else one.probability / 2


def _said(question: Question, images: Sequence[str], state: ReviewState) -> str:
    """Return what was said last of a candidate that leaves it where it is, "" if nothing."""
    last, said = 0, ""
    among = set(images)
    for own in question.images:
        for other, vote in state.votes_of(own):
            if other in among and vote.number > last:
                last, said = vote.number, vote.kind
    return "open" if said in ("same", "different") else said
