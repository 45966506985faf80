"""A small review: six photographs of three animals, three new ones, and answers that nobody computed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from engine.catalogue.catalog import Catalog
from engine.review.decision_table import ReviewFile
from engine.review.session import Review

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


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Six photographs of three animals."""
    names = {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "c1": "C", "c2": "C"}
    return Catalog(table_of(tmp_path / "catalogue", names, 2018), tmp_path / "catalogue")


@pytest.fixture
def review(tmp_path: Path, catalog: Catalog) -> Iterator[Review]:
    """A review with three questions that were matched."""
    with ReviewFile(tmp_path / "review.sqlite") as file:
        review = Review(catalog, file)
        review.add_photographs(table_of(tmp_path / "new", dict.fromkeys(ANSWERS), 2020))
        for image, answer in ANSWERS.items():
            ranked = [[other, p, 0.5, 10, 5] for other, p in answer.items()]
            file.add_answer(image, "made up", {"photographs": ranked, "parts": {}})
        review.learn(ANSWERS)
        yield review
