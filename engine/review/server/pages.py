"""The pages."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from engine.report.wording import text_of
from engine.review.contradictions import Contradiction
from engine.review.decisions import Decision
from engine.review.queue import ORDERS
from engine.review.server.access import TOKEN_HEADER
from engine.review.server.descriptions import operations_of, records_of
from engine.review.server.exports import ASKED_FOR
from engine.review.server.hall import Hall, hall_of, picture_address, session_of
from engine.review.server.kept_filters import filters, keep, wanted_of
from engine.review.server.question_page import question_page, sentence_of
from engine.review.server.sign_in import sign_in_page
from engine.review.server.templates import render, static
from engine.review.server.wording import decision_in_words
from engine.review.standing import CONTRADICTORY, DECIDED, NO_MATCH, OPEN, STATUSES, WAITING, Standing

routes = APIRouter(include_in_schema=False)
_PAGE = 48
_ROWS = 200


@routes.get("/static/{name}")
async def static_file(name: str) -> Response:
    """Return a style or script."""
    try:
        content, kind = static(name)
    except KeyError:
        return HTMLResponse("there is no such file", 404)
    return Response(content, media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": "private, max-age=60"})


@routes.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Exchange the password for a session."""
    access = hall_of(request).access
    form = await request.form()
    session = access.sign_in(str(form.get("password", "")), request.headers)
    if session is None:
        return sign_in_page(access.has_password, wrong=True)
    response = HTMLResponse('<meta http-equiv="refresh" content="0; url=/">')
    return access.with_cookie(response, session)


def frame(request: Request) -> dict[str, Any]:
    """Return what every page shows around its content."""
    hall, session = hall_of(request), session_of(request)
    progress = hall.progress()
    return {
        "title": hall.title,
        "path": request.url.path,
        "who": session.who,
        "token": session.token,
        "progress": progress,
        "open": progress.counts[OPEN],
        "confidence": hall.confidence,
    }


def page(request: Request, template: str, /, **values: Any) -> HTMLResponse:
    """Return a page."""
    return HTMLResponse(render(template, frame=frame(request), **values))


def picture(hall: Hall, image: str) -> dict[str, Any]:
    """Return a photograph's small picture as templates show it."""
    width, height = hall.look(image)["size"]
    return {"ref": picture_address(image, "small"), "width": width, "height": height}


def address(path: str, **values: Any) -> str:
    """Return a path with what is asked of it; empty values are left out."""
    asked = {name: value for name, value in values.items() if value not in ("", None, 0)}
    return f"{path}?{urlencode(asked, errors='surrogatepass')}" if asked else path


@routes.get("/")
async def queue_page(request: Request) -> HTMLResponse:
    """Show the queue."""
    hall = hall_of(request)
    review = hall.now()
    wanted = wanted_of(request)
    shown, counts = review.queue.wanted(wanted), review.queue.counts(wanted)
    offset = _offset(request, len(shown))
    part = shown[offset : offset + _PAGE]
    given = filters(wanted)
    numbers = review.queue.progress()
    shown_page = page(
        request,
        "queue.html",
        statuses=[{"name": name, "number": numbers[name], "kind": _KINDS[name]} for name in STATUSES if numbers[name]],
        skipped=sorted(hall.worker.work.skipped.items()) if hall.worker is not None else [],
        total_questions=len(review.queue.questions),
        wanted=given,
        all_link=address("/", **{**given, "status": ""}),
        status_links=[
            {
                "name": name,
                "number": number,
                "on": wanted.status == name,
                "link": address("/", **given | {"status": name}),
            }
            for name, number in counts["status"].items()
            if number or wanted.status == name
        ],
        choices=[(name, sorted(counts[name].items())) for name in ("viewpoint", "year") if len(counts[name]) > 1],
        orders=list(ORDERS),
        first=address("/question", image=_first(shown), **given) if shown else "",
        shown=len(shown),
        offset=offset,
        rows=[_row(hall, one, given) for one in part],
        **_pages("/", offset, len(shown), given),
    )
    keep(shown_page, request, wanted)
    return shown_page


def _first(shown: list[Standing]) -> str:
    """Return the question to begin with: the first open one, or the first of all."""
    return next((one for one in shown if one.status == OPEN), shown[0]).question.key


_KINDS = {OPEN: "open", NO_MATCH: "none", CONTRADICTORY: "odd", DECIDED: "done", WAITING: "wait"}


def _pages(
    path: str, offset: int, total: int, asked: dict[str, str] | None = None, step: int = _PAGE
) -> dict[str, str]:
    """Return the addresses of what comes before and behind a part of a list, "" where nothing does."""
    return {
        "before": address(path, **(asked or {}), offset=offset - step) if offset > 0 else "",
        "behind": address(path, **(asked or {}), offset=offset + step) if offset + step < total else "",
    }


def _offset(request: Request, total: int) -> int:
    text = request.query_params.get("offset", "0")
    offset = int(text) if text.isdecimal() and len(text) < 9 else 0
    return max(min(offset, max(total - 1, 0)), 0)


def _row(hall: Hall, one: Standing, given: dict[str, str]) -> dict[str, Any]:
    level, sentence = sentence_of(one)
    best = one.best
    individual = hall.review.other_photographs(one.name) if one.name else []
    own = set(one.question.images)
    shown = best.images[0] if best is not None else next((image for image in individual if image not in own), None)
    return {
        "link": address("/question", image=one.question.key, **given),
        "title": text_of(one.question.key),
        "more": len(one.question.images) - 1,
        "picture": picture(hall, one.question.key),
        "best": picture(hall, shown) if shown is not None else None,
        "name": text_of(best.name if best is not None and best.name else one.name),
        "nothing": "matching …" if one.status == WAITING else "nobody",
        "level": level,
        "sentence": sentence,
        "probability": best.probability if best is not None else None,
    }


@routes.get("/question")
async def question(request: Request, image: str) -> HTMLResponse:
    """Show one question with its candidates; only that part of the page for the script that walks on."""
    hall = hall_of(request)
    review = hall.now()
    standing, wanted = review.standing(image), wanted_of(request)
    order = [one.question.key for one in review.queue.wanted(wanted)]
    following = review.queue.waiting_after(standing.question.key, order)
    hall.draw_around(standing, review.queue.standing(following) if following else None)
    values = question_page(hall, standing, order, address("/", **filters(wanted)))
    if request.headers.get("x-part") == "question":
        return HTMLResponse(render("question_section.html", q=values))
    return page(request, "question.html", q=values)


@routes.get("/walk")
async def walk(request: Request, image: str, step: int = 1) -> Response:
    """Return the address of the next or previous question, for the script; empty at the end."""
    review, wanted = hall_of(request).now(), wanted_of(request)
    key = review.queue.beside(image, wanted, 1 if step >= 0 else -1)
    return Response(address("/question", image=key, **filters(wanted)) if key else "", media_type="text/plain")


@routes.get("/contradictions")
async def contradictions(request: Request) -> HTMLResponse:
    """Show what cannot all be true, with the photographs side by side."""
    hall = hall_of(request)
    review = hall.now()
    found = review.state.contradictions()
    offset = _offset(request, len(found))
    return page(
        request,
        "contradictions.html",
        items=[_contradiction(hall, one) for one in found[offset : offset + _PAGE]],
        total=len(found),
        offset=offset,
        **_pages("/contradictions", offset, len(found)),
    )


_TITLES = {
    "linked and different": "Said to be different, and linked all the same",
    "two names": "Two names for one animal",
    "reviewers disagree": "Reviewers disagree",
}


#: (said to be the same, said to be different) -> what stands between two photographs, and what is read aloud.
_BETWEEN = {
    (True, False): {"sign": "=", "said": "said to be the same animal as"},
    (False, True): {"sign": "≠", "said": "said to be another animal than"},
    (True, True): {"sign": "= or ≠", "said": "said to be the same animal as, and another than"},
    (False, False): {"sign": "one name", "said": "of one name with"},
}


def _contradiction(hall: Hall, one: Contradiction) -> dict[str, Any]:
    review = hall.review
    question = next((found for image in one.images if (found := review.queue.question_of(image))), None)
    images = [_photograph(hall, image) | {"name": text_of(review.state.name(image))} for image in one.images]
    between = []
    for first, second in zip(one.images, one.images[1:], strict=False):
        votes = {vote.kind for vote in review.state.pair_votes(first, second)}
        between.append(_BETWEEN["same" in votes, "different" in votes])
    return {
        "title": _TITLES[one.kind] + (f": {' and '.join(one.names)}" if one.names else ""),
        "images": images,
        "between": between,
        "names": one.names if one.kind == "two names" else (),
        "rows": [_decision(review.state.rows[number]) for number in one.decisions],
        "compare": address("/question", image=question.key) if question is not None else "",
    }


def _photograph(hall: Hall, image: str) -> dict[str, Any]:
    look = hall.look(image)
    return {
        "image": image,
        "file": look["name"],
        "picture": picture(hall, image),
        "large": picture_address(image),
        "meta": look["meta"],
    }


def _decision(one: Decision) -> dict[str, Any]:
    return {
        "number": one.number,
        "text": decision_in_words(one),
        "who": one.who,
        "at": one.at[:19].replace("T", " "),
        "confidence": one.confidence,
        "probability": "" if one.probability is None else f"{one.probability:.3f}",
    }


@routes.get("/individuals")
async def individuals(request: Request) -> HTMLResponse:
    """Show everybody."""
    hall = hall_of(request)
    text = request.query_params.get("text", "")
    found = sorted(hall.now().state.individuals().items())
    found = [(name, images) for name, images in found if text.lower() in name.lower()]
    offset = _offset(request, len(found))
    items = [
        {
            "name": text_of(name),
            "link": address("/individual", name=name),
            "count": len(images),
            "picture": picture(hall, images[0]),
            "seen": _seen(hall, images),
        }
        for name, images in found[offset : offset + _PAGE]
    ]
    return page(
        request,
        "individuals.html",
        items=items,
        text=text,
        total=len(found),
        offset=offset,
        **_pages("/individuals", offset, len(found), {"text": text}),
    )


def _seen(hall: Hall, images: list[str]) -> str:
    dates = sorted(day for image in images if (day := hall.review.when(image)))
    if not dates:
        return "dates unknown"
    return f"seen {dates[0]}" if dates[0] == dates[-1] else f"seen {dates[0]} to {dates[-1]}"


@routes.get("/individual")
async def individual(request: Request, name: str) -> HTMLResponse:
    """Show one individual's photographs, to rename, merge, split and move."""
    hall = hall_of(request)
    review = hall.now()
    images = review.other_photographs(name)
    if not images:
        return HTMLResponse(render("gone.html", frame=frame(request), name=text_of(name)), 404)
    photographs = sorted((_photograph(hall, image) for image in images), key=lambda one: one["meta"])
    others = sorted(other for other in review.state.individuals() if other != name)
    return page(
        request,
        "individual.html",
        name=text_of(name),
        photographs=photographs,
        names=[text_of(other) for other in others],
        seen=_seen(hall, images),
    )


@routes.get("/decisions")
async def decisions(request: Request) -> HTMLResponse:
    """Show the table of decisions, the newest first."""
    hall = hall_of(request)
    state = hall.now().state
    newest = state.decisions[::-1]
    offset = _offset(request, len(newest))
    rows = [_decision(one) | {"counts": one.number in state.counting} for one in newest[offset : offset + _ROWS]]
    return page(
        request,
        "decisions.html",
        rows=rows,
        total=len(newest),
        **_pages("/decisions", offset, len(newest), step=_ROWS),
    )


@routes.get("/exports")
async def exports(request: Request) -> HTMLResponse:
    """Show what can be taken out and in, invitations and the interface."""
    hall = hall_of(request)
    shown = [
        {"name": name, "file": one.name, "text": one.text}
        for name, one in hall.exports.items()
        if name not in ASKED_FOR
    ]
    views = Counter(str(view) for view in hall.review.photographs.table["viewpoint"].dropna())
    return page(request, "exports.html", offers=shown, views=sorted(views.items()), file=text_of(hall.review.file.path))


@routes.get("/interface")
async def interface(request: Request) -> HTMLResponse:
    """Show what programs can ask for, made from the interface's own description."""
    described = request.app.openapi()
    return page(
        request,
        "interface.html",
        operations=operations_of(described),
        records=records_of(described),
        header=TOKEN_HEADER,
    )
