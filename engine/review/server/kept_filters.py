"""What a browser asks of the queue: its address says so, or else what it asked last, in whatever session."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from engine.review.queue import ORDERS, Wanted
from engine.review.server.hall import hall_of, session_of

_NAMES = tuple(field.name for field in dataclasses.fields(Wanted) if field.name != "who")
_YEAR = 365 * 24 * 3600
_LONGEST = 1000


def wanted_of(request: Request) -> Wanted:
    """Return what a request asks of the queue: order, status, viewpoint, year, text.

    An address that names one of them says everything; one that names none asks for what the browser asked last.
    """
    given = dict(request.query_params)
    if not any(name in given for name in _NAMES):
        kept = request.cookies.get(_cookie(hall_of(request).review.file.path), "")
        given = dict(parse_qsl(kept[:_LONGEST], errors="surrogatepass"))
    values = {name: given.get(name, "") for name in _NAMES}
    order = values.pop("order")
    return Wanted(order if order in ORDERS else "settles most", who=session_of(request).who, **values)


def filters(wanted: Wanted) -> dict[str, str]:
    """Return what an address needs to ask for the same queue."""
    return {name: getattr(wanted, name) for name in _NAMES}


def keep(response: Response, request: Request, wanted: Wanted) -> None:
    """Have the browser remember what it asked of this review."""
    text = urlencode({name: value for name, value in filters(wanted).items() if value}, errors="surrogatepass")
    if len(text) <= _LONGEST:
        name = _cookie(hall_of(request).review.file.path)
        response.set_cookie(name, text, max_age=_YEAR, httponly=True, samesite="strict", path="/")


def _cookie(file: Path) -> str:
    """Return a cookie's name: browsers tell servers of one machine apart by their names only, whatever their port."""
    return f"scarmatch_queue_{hashlib.sha256(str(file.absolute()).encode(errors='surrogatepass')).hexdigest()[:12]}"
