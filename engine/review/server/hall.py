"""What all routes share: the review, the process that matches, the pictures, and the records of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from engine.report.wording import text_of
from engine.review.contradictions import Contradiction
from engine.review.decisions import Decision
from engine.review.matching import layers_file
from engine.review.server.access import Access, Session
from engine.review.server.exports import Offer
from engine.review.server.interface import (
    CandidateOut,
    ContradictionOut,
    DecisionIn,
    DecisionOut,
    PhotographOut,
    ProgressOut,
    QuestionOut,
)
from engine.review.server.pictures import Photographs, shown_size
from engine.review.server.writing import Writing
from engine.review.session import Review
from engine.review.standing import WAITING, Candidate, Standing
from engine.review.worker import ReviewWorker

#: Candidates whose layers are drawn before anybody asks, of the question that is looked at and of the next one.
_DRAWN, _DRAWN_NEXT = 3, 2
#: Photographs whose records are kept.
_LOOKS = 20_000


@dataclass
class Hall:
    """What all routes share.

    Attributes:
        review: decisions, state and queue.
        worker: the process that matches; None where nothing is to be matched.
        photographs: makes pictures.
        access: who may ask.
        uploads: folder of uploaded photographs.
        title: of the pages.
        confidence: whether pages ask how sure a reviewer is.
        largest: bytes of an upload.
        exports: what can be downloaded, by name.
        writing: makes decisions.
    """

    review: Review
    worker: ReviewWorker | None
    photographs: Photographs
    access: Access
    uploads: Path
    title: str
    confidence: bool
    largest: int
    exports: dict[str, Offer]
    writing: Writing = field(init=False)

    def __post_init__(self) -> None:
        self.writing = Writing(self.review)
        self._looks: dict[str, dict[str, Any]] = {}

    def look(self, image: str) -> dict[str, Any]:
        """Return what a script needs to show a photograph; not to be changed."""
        if image not in self._looks:
            if len(self._looks) >= _LOOKS:
                self._looks.clear()
            row = self.review.rows[image]
            meta = [self.review.when(image) or "date unknown", text_of(row["viewpoint"]) or "view unknown"]
            self._looks[image] = {
                "image": image,
                "name": text_of(image),
                "meta": " · ".join(meta),
                "at": picture_address(image, ""),
                "size": shown_size(row),
                "whole_size": shown_size(row, whole=True),
            }
        return self._looks[image]

    def now(self) -> Review:
        """Return the review as it is now: with what others decided and what was matched since."""
        if self.worker is not None:
            answered = self.worker.hear()
            if answered:
                self.review.learn(answered)
                for image in answered:
                    self._draw(self.review.standing(image), 1, now=False)
        self.review.refresh()
        return self.review

    def ask_for_answers(self, images: Sequence[str]) -> None:
        """Have photographs matched."""
        if self.worker is not None and images:
            self.worker.match(images)

    def draw_around(self, standing: Standing, following: Standing | None) -> None:
        """Have the layers drawn of what is looked at now, and of what comes next."""
        self._draw(standing, _DRAWN, now=True)
        if following is not None:
            self._draw(following, _DRAWN_NEXT, now=False)

    def _draw(self, standing: Standing, count: int, now: bool) -> None:
        if self.worker is None or standing.status == WAITING:
            return
        for candidate in reversed(standing.candidates[:count]):  # what is asked for last is drawn first
            pair = (standing.question.images[0], candidate.images[0])
            if not self.layers(*pair).is_file():
                self.worker.draw(*pair, now=now)

    def layers(self, query: str, image: str) -> Path:
        """Return the file of a pair's layers, which may not be there yet."""
        made_with = self.worker.work.made_with if self.worker is not None else ""
        return layers_file(self.photographs.folder, made_with, query, image)

    def progress(self) -> ProgressOut:
        """Return how far everything is."""
        review, work = self.now(), self.worker.work if self.worker is not None else None
        return ProgressOut(
            counts=review.queue.progress(),
            contradictions=len(review.state.contradictions()),
            last=review.state.last,
            stage=work.stage if work else "",
            done=work.done if work else 0,
            total=work.total if work else 0,
            problem=work.problem if work else "",
        )

    # --- records ------------------------------------------------------------------------------------------------------

    def question(self, one: Standing) -> QuestionOut:
        """Return a question as programs get it."""
        return QuestionOut(
            key=one.question.key,
            images=list(one.question.images),
            status=one.status,
            name=one.name,
            date=one.question.date,
            viewpoint=one.question.viewpoint,
            new_individual=one.new,
            candidates=[self._candidate(candidate) for candidate in one.candidates],
            rejected=list(one.rejected),
            linked=list(one.linked),
        )

    def _candidate(self, one: Candidate) -> CandidateOut:
        photographs = [self.photograph(image, chance) for image, chance in zip(one.images, one.chances, strict=True)]
        return CandidateOut(name=one.name, probability=one.probability, said=one.said, photographs=photographs)

    def photograph(self, image: str, chance: float) -> PhotographOut:
        """Return a photograph as programs get it."""
        row = self.review.rows[image]
        return PhotographOut(
            image=image,
            probability=chance,
            date=self.review.day(image),
            viewpoint=text_of(row["viewpoint"]),
            picture=picture_address(image),
        )

    def decision(self, one: Decision) -> DecisionOut:
        """Return a decision as programs get it."""
        return self.decisions([one])[0]

    def decisions(self, rows: Sequence[Decision]) -> list[DecisionOut]:
        """Return decisions as programs get them."""
        counting = self.review.state.counting
        return [
            DecisionOut(
                number=one.number,
                at=one.at,
                who=one.who,
                kind=one.kind,
                images=list(one.images),
                name=one.name,
                individual=one.individual,
                target=one.target,
                confidence=one.confidence,
                probability=one.probability,
                shown=dict(one.shown),
                version=one.version,
                counts=one.number in counting,
            )
            for one in rows
        ]


def asked(decision: DecisionIn, session: Session) -> Decision:
    """Return the decision that a request asks for."""
    return Decision(
        kind=decision.kind,
        who=decision.who.strip() or session.who,
        images=tuple(decision.images),
        name=decision.name.strip(),
        individual=decision.individual,
        target=decision.target,
        confidence=decision.confidence,
        shown=decision.shown,
        key=decision.key,
    )


def contradiction_out(one: Contradiction) -> ContradictionOut:
    """Return a contradiction as programs get it."""
    return ContradictionOut(
        kind=one.kind, images=list(one.images), decisions=list(one.decisions), names=list(one.names)
    )


@lru_cache(maxsize=65536)
def picture_address(image: str, size: str = "large") -> str:
    """Return the address of a photograph's picture; without a size, what a script adds one to."""
    values = {"image": image, "size": size} if size else {"image": image}
    return f"/picture?{urlencode(values, errors='surrogatepass')}"


def hall_of(request: Request) -> Hall:
    """Return what all routes share."""
    hall: Hall = request.app.state.hall
    return hall


def session_of(request: Request) -> Session:
    """Return the session that asks; the guard lets nobody through who has none."""
    session: Session = request.state.session
    return session
