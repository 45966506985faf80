"""Catalogues of a few small photographs, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from engine.catalogue.catalog import Catalog

MakeCatalog = Callable[..., Catalog]


@pytest.fixture
def make(tmp_path: Path) -> MakeCatalog:
    """Make a catalogue from rows (id, individual, date, viewpoint), a date being a day, a month or a year."""

    def catalogue(rows: Sequence[tuple[str, str | None, str | None, str | None]], **columns: Any) -> Catalog:
        folder = tmp_path / "catalogue"
        folder.mkdir(exist_ok=True)
        table = pd.DataFrame(rows, columns=["image_id", "individual_id", "date", "viewpoint"])
        table["path"] = [str(folder / f"{image}.png") for image in table["image_id"]]
        for path in table["path"]:
            Image.new("RGB", (8, 6)).save(path)
        spans = [pd.Period(date) if isinstance(date, str) else None for date in table["date"]]
        table["earliest"] = [span.start_time.normalize() if span is not None else pd.NaT for span in spans]
        table["latest"] = [span.end_time.normalize() if span is not None else pd.NaT for span in spans]
        table["date"] = table["earliest"].where(table["earliest"] == table["latest"])
        return Catalog(table.assign(**columns), folder)

    return catalogue


@pytest.fixture
def survey(make: MakeCatalog) -> Catalog:
    """The worked example: five whales, one photograph without a name and one without a date, from 2017 to 2019."""
    return make(
        [
            ("p1", "A", "2017-06-10", "left"),
            ("p2", "A", "2017-06-28", "left"),
            ("p3", "A", "2019-07-01", "right"),
            ("p4", "B", "2017-07-15", "left"),
            ("p5", "B", "2018", "left"),
            ("p6", "C", "2019-08-01", "left"),
            ("p7", None, "2018-09-09", "left"),
            ("p8", "D", None, "left"),
            ("p9", "E", "2017", "left"),
        ]
    )
