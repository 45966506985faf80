"""A small review: six photographs of three animals, three new ones, and answers that nobody computed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from engine.catalogue.catalog import Catalog
from engine.review.decision_table import ReviewFile
from engine.review.session import Review
from engine.review.worker import Work

if TYPE_CHECKING:
    from engine.review.server.hall import Hall

#: Photograph asked -> what the engine is made to have answered.
ANSWERS = {
    "q1": {"a1": 0.9, "a2": 0.5, "b1": 0.3, "c1": 0.05, "q2": 0.1},
    "q2": {"b1": 0.6, "b2": 0.2, "a1": 0.3},
    "q3": {"c1": 0.02, "q1": 0.01},
}


def draw(path: Path, seed: int) -> None:
    """Write a small photograph."""
    pixels = np.random.default_rng(seed).integers(40, 200, (90, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((60, 180)).save(path)


def table_of(folder: Path, names: dict[str, str | None], year: int) -> pd.DataFrame:
    """Draw photographs and return their rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (image, name) in enumerate(names.items()):
        draw(folder / f"{image}.jpg", year + number)
        view = "left" if image == "a1" else "top"
        row = {"image_id": image, "path": str(folder / f"{image}.jpg"), "individual_id": name, "viewpoint": view}
        rows.append({**row, "date": pd.Timestamp(year, 6, 1 + number)})
    return pd.DataFrame(rows)


def catalog_in(folder: Path) -> Catalog:
    """Draw six photographs of three animals."""
    names = {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "c1": "C", "c2": "C"}
    return Catalog(table_of(folder / "catalogue", names, 2018), folder / "catalogue")


@contextlib.contextmanager
def review_in(folder: Path, catalog: Catalog) -> Iterator[Review]:
    """Give a review with three questions that were matched."""
    with ReviewFile(folder / "review.sqlite") as file:
        review = Review(catalog, file)
        review.add_photographs(table_of(folder / "new", dict.fromkeys(ANSWERS), 2020))
        for image, answer in ANSWERS.items():
            answered(file, image, answer)
        review.learn(ANSWERS)
        yield review


def answered(file: ReviewFile, image: str, answer: Mapping[str, float]) -> None:
    """Write down what the engine is made to have answered."""
    ranked = [[other, p, 0.5, 10, 5] for other, p in answer.items()]
    file.add_answer(image, "made up", {"photographs": ranked, "parts": {}})


class Answering:
    """Stands where the process that matches does: it answers at once that every photograph is most probably A."""

    def __init__(self, file: ReviewFile) -> None:
        self.work, self._file, self._new = Work(stage=""), file, list[str]()

    def match(self, images: Sequence[str]) -> None:
        """Answer."""
        for image in images:
            answered(self._file, image, {"a1": 0.9, "b1": 0.3})
        self._new += images

    def hear(self) -> list[str]:
        """Return what was answered since."""
        new, self._new = self._new, []
        return new

    def draw(self, query: str, image: str, now: bool = True) -> None:
        """Draw nothing."""
        self.work.failed[query, image] = "nothing is drawn"

    def close(self) -> None:
        """Be done."""


@contextlib.contextmanager
def serving(review: Review, folder: Path) -> Iterator[Hall]:
    """Serve a review on a port of its own, in a thread; the hall's access invites."""
    server_rooms = pytest.importorskip("engine.review.server.serve", reason="pip install 'scarmatch[review]'")
    access_room = pytest.importorskip("engine.review.server.access")
    with server_rooms.bound("127.0.0.1", 0) as listening:
        access = access_room.Access(listening.getsockname()[1], {"127.0.0.1"}, "Ada")
        plan = server_rooms.ServerPlan(title="Made up", port=access.port)
        hall: Hall = server_rooms.hall_for(review, Answering(review.file), access, folder / "pictures", plan)
        import uvicorn

        config = uvicorn.Config(server_rooms.make_app(hall), log_level="warning", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield hall
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Six photographs of three animals."""
    return catalog_in(tmp_path)


@pytest.fixture
def review(tmp_path: Path, catalog: Catalog) -> Iterator[Review]:
    """A review with three questions that were matched."""
    with review_in(tmp_path, catalog) as review:
        yield review
