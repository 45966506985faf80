"""What the page of one question shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from engine.report.wording import gap_in_words, text_of, verdict
from engine.review.server.hall import Hall, picture_address
from engine.review.standing import CONTRADICTORY, DECIDED, NO_MATCH, WAITING, Candidate, Standing

#: Candidates and photographs of one of them that a page shows.
_CARDS, _PHOTOGRAPHS = 20, 60
_NOBODY = {WAITING: "It is being matched.", DECIDED: "There is no other photograph of this animal."}
_PUT_ASIDE = {
    "cannot_tell": "cannot tell",
    "not_comparable": "not comparable",
    "open": "more votes needed",
    "": "",
}


def sentence_of(one: Standing) -> tuple[str, str]:
    """Return a level ("match", "maybe", "none", "new", "odd") and one sentence of how a question stands."""
    if one.status == DECIDED:
        return "match", f"Decided: {text_of(one.name)}"
    if one.status == CONTRADICTORY:
        return "odd", "Contradictory decisions"
    if one.status == WAITING:
        return "none", "Not matched yet"
    if one.status == NO_MATCH:
        return "none", "No match found"
    best = one.best
    if best is None:
        return "none", "No candidate"
    level, sentence = verdict(best.probability, text_of(best.name), one.new)
    return level, sentence if best.name is not None or level == "new" else "Like another new photograph"


def question_page(hall: Hall, one: Standing, order: Sequence[str], queue: str) -> dict[str, Any]:
    """Return everything that the template of a question shows.

    Args:
        hall: what all routes share.
        one: how the question stands.
        order: keys of the queue that it is walked through in.
        queue: address of that queue.
    """
    review, question = hall.review, one.question
    level, sentence = sentence_of(one)
    shown = list(one.candidates[:_CARDS]) or _decided(hall, one)
    cards = [_card(hall, one, candidate, rank) for rank, candidate in enumerate(shown, start=1)]
    row = review.rows[question.key]
    encounter = text_of(row["encounter_id"])
    meta = [question.date or "date unknown", question.viewpoint or "viewpoint unknown"]
    if len(question.images) > 1:
        meta.append(f"{len(question.images)} photographs of one encounter")
    elif encounter:
        meta.append(encounter)
    return {
        "key": question.key,
        "title": text_of(question.key),
        "meta": " · ".join(meta),
        "status": one.status,
        "last": one.number,
        "level": level,
        "sentence": sentence,
        "place": order.index(question.key) + 1 if question.key in order else 0,
        "shown": len(order),
        "queue": queue,
        "problem": hall.worker.work.skipped.get(question.key, "") if hall.worker is not None else "",
        "picture": _picture(hall, question.key),
        "cards": cards,
        "new": one.new,
        "nobody": _NOBODY.get(one.status, "Every candidate was rejected."),
        "rejected": [text_of(name) for name in one.rejected],
        "linked": [text_of(image) for image in one.linked],
        "votes": _votes(hall, one),
        "data": {
            "query": _picture(hall, question.key),
            "queries": [hall.look(image) for image in question.images],
            "views": [],
            "pairs": {},
            "parts": {},
            "candidates": {
                str(rank): {"name": candidate.name, "photographs": _photographs(hall, candidate, one)}
                for rank, candidate in enumerate(shown, start=1)
            },
        },
    }


def _decided(hall: Hall, one: Standing) -> list[Candidate]:
    """Return whom a decided question was decided to be, to be looked at once more."""
    own = {*one.question.images, *one.linked}
    others = [image for image in hall.review.other_photographs(one.name) if image not in own] if one.name else []
    if not others:
        return []
    ranked = [hall.review.ranked(one.question.key, image) for image in others]
    chances = {image: found.probability if found else 0.0 for image, found in zip(others, ranked, strict=True)}
    others.sort(key=lambda image: -chances[image])
    return [Candidate(one.name, tuple(others), tuple(chances[image] for image in others), 1.0)]


def _picture(hall: Hall, image: str) -> dict[str, Any]:
    width, height = hall.look(image)["size"]
    return {"ref": picture_address(image), "width": width, "height": height}


def _photographs(hall: Hall, candidate: Candidate, one: Standing) -> list[dict[str, Any]]:
    """Return a candidate's photographs: those that were matched, then the others that bear its name."""
    images = list(candidate.images)
    if candidate.name is not None:
        known = {*images, *one.question.images}
        view = one.question.viewpoint
        others = [image for image in hall.review.other_photographs(candidate.name) if image not in known]
        others.sort(key=lambda image: bool(view) and hall.review.rows[image]["viewpoint"] != view)
        images += others
    return [hall.look(image) for image in images[:_PHOTOGRAPHS]]


def _card(hall: Hall, one: Standing, candidate: Candidate, rank: int) -> dict[str, Any]:
    image = candidate.images[0]
    row = hall.review.rows[image]
    found = hall.review.ranked(one.question.key, image)
    width, height = hall.look(image)["size"]
    return {
        "rank": rank,
        "key": image,
        "file": text_of(image),
        "individual": text_of(candidate.name) or f"unnamed, like {text_of(image)}",
        "probability": candidate.probability,
        "said": _PUT_ASIDE.get(candidate.said, candidate.said),
        "count": len(hall.review.other_photographs(candidate.name)) if candidate.name else len(candidate.images),
        "date": hall.review.when(image),
        "gap": _gap(one.question.date, hall.review.day(image)),
        "viewpoint": text_of(row["viewpoint"]),
        "encounter": "",
        "cosine": found.cosine if found else None,
        "matches": found.matches if found else None,
        "inliers": found.inliers if found else None,
        "layers": False,
        "thumbnail": {"ref": picture_address(image, "small"), "width": width, "height": height},
    }


def _gap(first: str, second: str) -> str:
    try:
        return gap_in_words((dt.date.fromisoformat(second) - dt.date.fromisoformat(first)).days)
    except ValueError:  # one of them is unknown
        return ""


def _votes(hall: Hall, one: Standing) -> list[str]:
    """Return who said what of this question, in words."""
    words = {
        "same": "same as",
        "different": "not",
        "cannot_tell": "cannot tell from",
        "not_comparable": "not comparable:",
    }
    said = []
    for image in one.question.images:
        for other, vote in hall.review.state.votes_of(image):
            who = hall.review.state.name(other)
            said.append((vote.number, f"{vote.who}: {words[vote.kind]} {text_of(who or other)}"))
    return list(dict.fromkeys(text for _, text in sorted(said, reverse=True)))[:6]
