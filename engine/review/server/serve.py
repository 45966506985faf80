"""Run the server of a review: a port of this machine, one address that opens it, and the process that matches."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from engine.review.matching import EnginePlan
from engine.review.server import api, pages
from engine.review.server.access import Access, Guard, refusal
from engine.review.server.exports import offers
from engine.review.server.hall import Hall
from engine.review.server.pictures import Photographs
from engine.review.session import Review
from engine.review.worker import ReviewWorker
from scarmatch import __version__
from scarmatch.errors import ScarmatchError

LARGEST_UPLOAD = 64 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_BACKLOG = 128


@dataclass(frozen=True)
class ServerPlan:
    """How a review is served.

    Attributes:
        host, port: where; port 0 takes a free one.
        who: name of a reviewer who has not said otherwise.
        password: opens a session; needed where the host is not this machine alone.
        title: of the pages.
        confidence: whether pages ask how sure a reviewer is.
        largest: bytes of an upload.
    """

    host: str = "127.0.0.1"
    port: int = 0
    who: str = "reviewer"
    password: str | None = None
    title: str = "Review"
    confidence: bool = False
    largest: int = LARGEST_UPLOAD


def make_app(hall: Hall) -> Guard:
    """Return the application: every route, behind the guard."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        if hall.worker is not None:
            hall.worker.close()

    app = FastAPI(
        title="scarmatch review",
        version=__version__,
        docs_url=None,  # that page takes its scripts from elsewhere: ours is /interface
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.hall = hall
    app.include_router(api.routes)
    app.include_router(pages.routes)
    app.add_exception_handler(ScarmatchError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    return Guard(app, hall.access, hall.largest)


async def _refused(request: Request, error: Exception) -> Response:
    return refusal(400, str(error))


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return refusal(422, f"{where}: {first['msg']}")


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that listens.

    Raises:
        ServeError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            raise ServeError(f"{host} port {port} cannot be used: {error.strerror}; choose another --port") from error
        listening.listen(_BACKLOG)
        yield listening


class ServeError(ScarmatchError, OSError):
    """The server cannot be started as asked; the message says what to change."""


def serve(
    review: Review,
    engine: EnginePlan | None,
    plan: ServerPlan,
    say: Callable[[str], None],
    open_page: bool = False,
) -> None:
    """Serve a review until it is stopped (Ctrl-C).

    Args:
        review: what is served.
        engine: what its answers are made with; None matches nothing.
        plan: where and how.
        say: called with each line for the user, the address among them.
        open_page: open the address in the browser.

    Raises:
        ServeError: the address cannot be used, or is not of this machine alone and has no password.
    """
    if plan.host not in LOOPBACK and not plan.password:
        raise ServeError(
            f"--host {plan.host} lets others ask: set a password in the environment variable SCARMATCH_REVIEW_PASSWORD"
        )
    with bound(plan.host, plan.port) as listening:
        port = int(listening.getsockname()[1])
        plan = dataclasses.replace(plan, port=port)
        names = set(LOOPBACK) if plan.host in LOOPBACK else {plan.host, *LOOPBACK, *_own_names()}
        access = Access(port, names, plan.who, plan.password)
        worker = ReviewWorker(engine) if engine is not None else None
        pictures = engine.pictures if engine is not None else review.file.path.with_suffix(".pictures") / "pictures"
        hall = hall_for(review, worker, access, pictures, plan)
        hall.ask_for_answers([image for one in review.queue.questions.values() for image in one.images])
        shown = f"[{plan.host}]" if ":" in plan.host else plan.host
        address = f"http://{shown}:{port}{access.invite()}"
        say(f"review: {address}")
        say("the address opens one browser, once; stop with Ctrl-C, what was decided and computed is kept")
        if open_page:
            webbrowser.open(address)
        config = uvicorn.Config(make_app(hall), log_level="warning", access_log=False, server_header=False)
        server = uvicorn.Server(config)
        try:
            server.run(sockets=[listening])
        finally:
            if worker is not None:
                worker.close()


def hall_for(review: Review, worker: ReviewWorker | None, access: Access, pictures: Path, plan: ServerPlan) -> Hall:
    """Return what all routes share."""
    path = review.file.path
    return Hall(
        review=review,
        worker=worker,
        photographs=Photographs(pictures),
        access=access,
        uploads=path.with_name(f"{path.stem}-photographs"),
        title=plan.title,
        confidence=plan.confidence,
        largest=plan.largest,
        exports=offers(),
    )


def _own_names() -> set[str]:
    """Return the names and addresses under which this machine is known."""
    name = socket.gethostname()
    found = {name, socket.getfqdn()}
    with contextlib.suppress(OSError):
        found |= {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    logging.getLogger(__name__).debug("asked for as %s", ", ".join(sorted(found)))
    return found
