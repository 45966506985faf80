"""The interface for programs; the pages use the same."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Body, File, Form, Query, Request, Response, UploadFile
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse

from engine.catalogue.catalog import CatalogError
from engine.review.decisions import Decision, ReviewError
from engine.review.naming import free_name, last_of, preview
from engine.review.queue import ORDERS, Wanted
from engine.review.server.access import TOKEN_HEADER
from engine.review.server.exports import histories_of, today_of
from engine.review.server.hall import Hall, asked, contradiction_out, hall_of, session_of
from engine.review.server.interface import (
    CaptureHistoriesOut,
    ContradictionOut,
    DecidedOut,
    DecisionIn,
    DecisionOut,
    ExportWishes,
    NamesOut,
    PreviewOut,
    ProgressOut,
    QuestionOut,
    QueueOut,
    SessionOut,
    UploadOut,
)
from engine.review.server.kept_filters import wanted_of
from engine.review.server.names_upload import decide_in_turn, names_in
from engine.review.server.uploads import take_upload
from engine.review.server.wording import decision_in_words
from engine.review.standing import OPEN
from features.photo import PhotoError

routes = APIRouter()
_PAGE = 50
#: Kinds after which one goes on looking at the same question, as long as it is open.
_STAY = ("different", "cannot_tell", "not_comparable")


@routes.get("/api/session", summary="Who asks, and the token that changes need")
async def session(request: Request) -> SessionOut:
    """Return the session's reviewer, and the header and token that every request that changes something carries."""
    one = session_of(request)
    return SessionOut(who=one.who, token=one.token, header=TOKEN_HEADER)


@routes.post("/api/session", summary="Say who reviews")
async def name_reviewer(request: Request, who: Annotated[str, Body(embed=True, max_length=100)]) -> SessionOut:
    """Set the name under which the session decides."""
    one = session_of(request)
    if not who.strip() or not who.isprintable():
        raise ReviewError("the reviewer's name must not be empty")
    one.who = who.strip()
    return SessionOut(who=one.who, token=one.token, header=TOKEN_HEADER)


@routes.post("/api/invitations", summary="Let another browser or program in")
async def invite(request: Request) -> dict[str, str]:
    """Return an address that opens one further session, once."""
    return {"address": f"{request.url.scheme}://{request.headers['host']}{hall_of(request).access.invite()}"}


@routes.get("/api/progress", summary="How far the review and the matching are")
async def progress(request: Request) -> ProgressOut:
    """Return the numbers of questions by status, and what the matching is at."""
    return hall_of(request).progress()


@routes.get("/api/questions", summary="The queue")
async def questions(
    request: Request,
    order: str = "settles most",
    status: str = "",
    viewpoint: str = "",
    year: str = "",
    text: str = "",
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = _PAGE,
) -> QueueOut:
    """Return questions with their best individuals and probabilities, in order, and what the filters would leave."""
    if order not in ORDERS:
        raise ReviewError(f"there is no order {order!r}; choose among {', '.join(ORDERS)}")
    hall = hall_of(request)
    wanted = Wanted(order, status, viewpoint, year, text, session_of(request).who)
    queue = hall.now().queue
    shown = queue.wanted(wanted)
    part = [hall.question(one) for one in shown[offset : offset + limit]]
    return QueueOut(total=len(shown), counts=queue.counts(wanted), questions=part)


@routes.get("/api/question", summary="Who may this be?")
async def question(request: Request, image: str) -> QuestionOut:
    """Return how the question of a photograph stands: individuals and photographs with their probabilities."""
    hall = hall_of(request)
    return hall.question(hall.now().standing(image))


@routes.get("/api/layers", summary="What a pair's picture can show")
async def layers(request: Request, query: str, candidate: str) -> Response:
    """Return keypoints, matches, marks and so on of a pair; 202 while they are being computed: ask again."""
    hall = hall_of(request)
    review = hall.now()
    for image in (query, candidate):
        if image not in review.rows:
            raise ReviewError(f"there is no photograph {image!r} in this review")
    file = hall.layers(query, candidate)
    if file.is_file():
        data = json.loads(await run_in_threadpool(file.read_text, "utf-8"))
        return JSONResponse({"layers": data, "parts": review.parts(query, candidate)})
    failed = hall.worker.work.failed.get((query, candidate)) if hall.worker is not None else "nothing is matched"
    if failed is None and hall.worker is not None:
        failed = hall.worker.work.problem or None
    if failed:
        return JSONResponse({"error": failed}, 404)
    if hall.worker is not None:
        hall.worker.draw(query, candidate)
    return JSONResponse({"layers": None}, 202)


@routes.post("/api/decisions", summary="Decide")
async def decide(
    request: Request,
    decisions: Annotated[list[DecisionIn], Body(min_length=1, max_length=1000)],
    question: Annotated[str, Body(description="the question that is looked at, to be told the next one")] = "",
) -> DecidedOut:
    """Make decisions, all or none; they are on the disk when this answers.

    For a pair the query comes first. The probability with which it was shown is added.
    """
    hall = hall_of(request)
    queue = hall.now().queue
    order = [one.question.key for one in queue.wanted(wanted_of(request))] if question in queue.questions else []
    written = await hall.writing.decide([asked(one, session_of(request)) for one in decisions])
    return DecidedOut(decisions=hall.decisions(written), next=_next(hall, question, written, order))


def _next(hall: Hall, key: str, written: list[Decision], order: list[str]) -> str | None:
    """Return the question to look at after some decisions: the same where candidates are left, or the next open one."""
    queue = hall.review.queue
    if key not in queue.questions:
        return None
    if written[-1].kind in _STAY and queue.standing(key).status == OPEN:
        return key
    return queue.waiting_after(key, order)


@routes.get("/api/decisions", summary="All decisions")
async def decisions(
    request: Request,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=10000)] = 1000,
) -> list[DecisionOut]:
    """Return the rows of the table after a number, in order."""
    hall = hall_of(request)
    rows = [one for one in hall.now().state.decisions if one.number > after]
    return hall.decisions(rows[:limit])


@routes.post("/api/undo", summary="Take back the own last decision")
async def undo(request: Request) -> DecidedOut:
    """Take back the reviewer's last decision that counts, and return it with the question that it was about."""
    hall, who = hall_of(request), session_of(request).who
    review = hall.now()
    last = last_of(who, review.state)
    if last is None:
        raise ReviewError(f"there is no decision of {who} to take back")
    written = await hall.writing.decide([Decision("undo", who, target=last.number)])
    about = next((one for image in last.images if (one := review.queue.question_of(image))), None)
    return DecidedOut(decisions=hall.decisions([last, *written]), next=about.key if about else None)


@routes.post("/api/preview", summary="What would a decision change?")
async def preview_of(request: Request, decision: DecisionIn) -> PreviewOut:
    """Return whom a merge, split, move, renaming or undo would rename, and which contradictions come and go."""
    hall = hall_of(request)
    found = preview(asked(decision, session_of(request)), hall.now().state)
    return PreviewOut(
        renamed=list(found.renamed),
        contradictions=[contradiction_out(one) for one in found.contradictions],
        resolved=[contradiction_out(one) for one in found.resolved],
        retired=list(found.retired),
    )


@routes.get("/api/contradictions", summary="Decisions that cannot all be true")
async def contradictions(request: Request) -> list[ContradictionOut]:
    """Return all contradictions, the newest first."""
    return [contradiction_out(one) for one in hall_of(request).now().state.contradictions()]


@routes.get("/api/individuals", summary="Everybody, with their photographs")
async def individuals(request: Request) -> dict[str, list[str]]:
    """Return name -> photographs, as of today."""
    return hall_of(request).now().state.individuals()


@routes.get("/api/free-name", summary="A name that nobody has")
async def a_free_name(request: Request) -> dict[str, str]:
    """Return a name for a new individual, in the manner of those that there are."""
    return {"name": free_name(hall_of(request).now().state)}


@routes.post("/api/photographs", summary="Upload a photograph", status_code=201)
async def upload(
    request: Request,
    file: Annotated[UploadFile, File(description="the photograph")],
    date: Annotated[str, Form(description="YYYY-MM-DD, a month or a year")] = "",
    viewpoint: Annotated[str, Form(description="top, left, right, or another word")] = "",
) -> UploadOut:
    """Keep a photograph and ask who it shows; ask for its question until it is matched.

    It is opened as every photograph is, and refused if it is none.
    """
    hall = hall_of(request)
    try:
        table = await run_in_threadpool(take_upload, file.file, file.filename or "", date, viewpoint, hall)
    except (PhotoError, CatalogError) as error:
        raise ReviewError(f"{file.filename!r} cannot be used: {error}") from None
    images = hall.now().add_photographs(table)
    hall.ask_for_answers(images)
    return UploadOut(image=images[0], question=hall.review.standing(images[0]).question.key)


@routes.get("/picture", summary="The picture of a photograph")
async def picture(
    request: Request, image: str, size: Literal["small", "large"] = "large", whole: bool = False
) -> Response:
    """Return a photograph as JPEG: the animal turned head up, or the whole as it was taken."""
    hall = hall_of(request)
    row = hall.review.rows.get(image)
    if row is None:
        return JSONResponse({"error": f"there is no photograph {image!r} in this review"}, 404)
    try:
        file = await run_in_threadpool(hall.photographs.file, row, size, whole)
    except (PhotoError, OSError):
        return JSONResponse({"error": f"the photograph {image!r} cannot be read"}, 404)
    return FileResponse(file, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@routes.get("/pictures/{name}", include_in_schema=False)
async def layer_picture(request: Request, name: str) -> Response:
    """Return a picture that layers refer to."""
    stem, _, kind = name.partition(".")
    hall = hall_of(request)
    named_by_content = len(stem) == 20 and set(stem) <= set("0123456789abcdef") and kind in ("jpg", "png")
    file = hall.photographs.folder / name
    if not named_by_content or not file.is_file():
        return JSONResponse({"error": "there is no such picture"}, 404)
    media = "image/jpeg" if kind == "jpg" else "image/png"
    return FileResponse(file, media_type=media, headers={"Cache-Control": "private, max-age=86400"})


@routes.get("/api/exports/{name}", summary="Download the review")
async def export(request: Request, name: str, wishes: Annotated[ExportWishes, Query()]) -> Response:
    """Return a file made from the decisions: see `/exports` for those that there are."""
    hall = hall_of(request)
    if name not in hall.exports:
        return JSONResponse({"error": f"there is no export {name!r}: {', '.join(hall.exports)}"}, 404)
    offer = hall.exports[name]
    folder = tempfile.TemporaryDirectory(prefix="scarmatch-download-")
    file = Path(folder.name) / offer.name
    try:
        await run_in_threadpool(offer.prepare(hall.now(), wishes), file)
    except BaseException:
        folder.cleanup()
        raise
    return FileResponse(file, media_type=offer.kind, filename=offer.name, background=BackgroundTask(folder.cleanup))


@routes.get("/api/capture-histories", summary="Who was captured when")
async def histories(request: Request, wishes: Annotated[ExportWishes, Query()]) -> CaptureHistoriesOut:
    """Return what an export of capture histories would hold."""
    today, notes = today_of(hall_of(request).now(), wishes)
    return await run_in_threadpool(histories_of, today, notes, wishes)


@routes.post("/api/names", summary="Names from a table")
async def names(
    request: Request,
    files: Annotated[list[UploadFile], File(description="a CSV or Excel table, and its key if Wildbook has one")],
    look: Annotated[bool, Form(description="only say what would be decided")] = False,
) -> NamesOut:
    """Turn a table of photographs and names, of Wildbook or a spreadsheet, into decisions that can be taken back."""
    hall, who = hall_of(request), session_of(request).who
    today, _ = today_of(hall.now(), ExportWishes())
    sent = [(one.file, one.filename or "") for one in files]
    found = await run_in_threadpool(names_in, sent, today, who)
    if not look:
        await decide_in_turn(hall.writing, found.decisions)
    changes = [decision_in_words(one) for one in found.decisions]
    return NamesOut(changes=changes, notes=list(found.notes), decided=not look)
