"""A table read a column at a time says and means what its rows do one by one; stems and paths are those of pathlib."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.catalogue.builder import TableBuilder
from engine.catalogue.catalog import Catalog, _normalise
from engine.catalogue.fields import likeness
from engine.catalogue.paths import inside, stem_of, written_path
from engine.catalogue.problems import CatalogError, Problems
from engine.catalogue.tables import _cells, _read, _read_regular
from engine.catalogue.text_columns import almost_the_same, files_there, plain_paths, read_times

TODAY = dt.date(2026, 11, 29)
CELLS: dict[str, list[str]] = {
    "image_id": ["a", "b", " c ", "", "a", "é", "unknown", "x\ny", "1.0", "\x01"],
    "path": [
        *(
            "a.jpg",
            " b.jpg",
            "sub/c.jpg",
            "sub\\d.jpg",
            "./a.jpg",
            "sub//c.jpg",
            "sub/../a.jpg",
            "../out.jpg",
            "",
            "a.jpg/",
        ),
        *(
            "/etc/passwd",
            "C:/a.jpg",
            "c:a.jpg",
            "A.JPG",
            "missing.jpg",
            "link.jpg",
            "nowhere.jpg",
            "e\u0301.jpg",
            "\u00e9.jpg",
        ),
        *(".hidden.jpg", "sub/.c.jpg", "sub", ".", "..", "a\nb.jpg", "...", "a..jpg", "sub/...", "\u3000a.jpg"),
    ],
    "individual_id": [
        "w1",
        "W 1",
        "w01",
        "w-1",
        "",
        "unknown",
        "12.0",
        "12",
        "1.23457E+11",
        "a  b",
        "n\u200ba",
        "é",
        "e\u0301",
        "x\ny",
    ],
    "encounter_id": ["e1", "e_1", "", "NA", "e 01"],
    "species": ["beluga", "Beluga", "", "+"],
    "viewpoint": ["top", "Top", "L", "odd view", "", "  ", "left "],
    "width": ["100", "100.0", "", "0", "x", "1e3", "１００"],
    "height": ["90", "", "-1", "1000001"],
    "date": [
        "2017-08-07",
        "2017-08",
        "2017",
        "",
        "2017-02-30",
        "07/08/2017",
        "3017-01-01",
        "1700-01-01",
        "2017-08-07 10:11:12",
        "2017-08-07T10:11:12",
        "0000-01-01",
        "2017-13-01",
        "２017-08-07",
        "2017-08-0７",
        "2017-08-07 24:00:00",
        "2017-08-07Z10:11:12",
    ],
    "timestamp": [
        "2017-08-07 20:38:36",
        "2017-08-08 20:38:36",
        "",
        "20:38:36",
        "2017-08-07 20:38:36+02:00",
        "2017-08-07",
        "2017-08-07 20:61:36",
        "2017:08:07 20:38:36",
    ],
    "time": ["", "10:00", "25:00"],
    "year": ["", "2017", "x"],
    "box": ["", "1,2,30,40", "5,5,0,0", " "],
}
#: What is plain; most cells are, so that whole tables and mixed ones come up.
PLAIN = {name: [cells[0]] for name, cells in CELLS.items()} | {
    "time": [""], "year": [""], "box": [""], "path": ["a.jpg", "sub/c.jpg"], "individual_id": ["w1", "w2", ""],
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "sub").mkdir()
    for name in ("a.jpg", "b.jpg", "sub/c.jpg", "sub/d.jpg", "\u00e9.jpg", ".hidden.jpg"):
        (folder / name).write_bytes(b"x")
    (folder / "link.jpg").symlink_to(folder / "a.jpg")
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    return folder


def one_by_one(builder: TableBuilder, cells: dict[str, list[str]], folder: Path) -> None:
    lines = range(2, 2 + len(cells["path"]))
    for row, line in enumerate(lines):
        builder.add(
            {name: column[row] for name, column in cells.items()}, Path("t.csv"), line, {"path": "file"}, folder
        )


def at_once(builder: TableBuilder, cells: dict[str, list[str]], folder: Path) -> None:
    builder.add_table(cells, Path("t.csv"), list(range(2, 2 + len(cells["path"]))), {"path": "file"}, folder)


def outcome(root: Path, parts: list[dict[str, list[str]]], how: Any, **options: Any) -> Any:
    """Return table, places and problems of one way of reading; only the problem where the ledger is strict."""
    strict = options.pop("strict", False)
    folder = root / options.pop("folder", "")
    builder = TableBuilder(root, Problems(strict=strict), _today=TODAY, **options)
    try:
        for cells in parts:
            how(builder, cells, folder)
        builder.compare_names(Path("t.csv"))
    except CatalogError as error:
        return error.problem
    table = builder.table()
    if builder.canonical and len(table):
        pd.testing.assert_frame_equal(_normalise(table, canonical=True), _normalise(table), check_exact=True)
    return table, builder.places, builder.problems.items


def assert_same(root: Path, parts: list[dict[str, list[str]]], **options: Any) -> None:
    expected, found = (outcome(root, parts, how, **options) for how in (one_by_one, at_once))
    if not isinstance(expected, tuple):
        assert found == expected
        return
    assert found[1:] == expected[1:]
    assert len(found[0]) == len(found[1])
    pd.testing.assert_frame_equal(found[0], expected[0], check_exact=True)
    if len(found[0]):
        tables = (Catalog(table, root).table for table in (found[0], expected[0]))
        pd.testing.assert_frame_equal(*tables, check_exact=True)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [
        "image_id",
        "path",
        *draw(st.lists(st.sampled_from(sorted(set(CELLS) - {"image_id", "path"})), unique=True)),
    ]
    count = draw(st.integers(0, 8))
    odd = draw(st.sampled_from([0, 1, 3]))
    cells = {}
    for name in names:
        plain = [f"p{row}" for row in range(count)] if name == "image_id" else None
        column = []
        for row in range(count):
            if draw(st.integers(0, 9)) < odd:
                column.append(draw(st.sampled_from(CELLS[name])))
            else:
                column.append(plain[row] if plain else draw(st.sampled_from(PLAIN[name])))
        cells[name] = column
    return cells


@settings(max_examples=400, deadline=None)
@given(tables(), st.booleans(), st.booleans())
def test_a_table_at_once_is_its_rows_one_by_one(
    root: Path, cells: dict[str, list[str]], strict: bool, out: bool
) -> None:
    assert_same(root, [cells], strict=strict, allow_outside=out)


@settings(max_examples=60, deadline=None)
@given(tables(), tables())
def test_ids_of_an_earlier_table_are_known(
    root: Path, first: dict[str, list[str]], second: dict[str, list[str]]
) -> None:
    assert_same(root, [first, second])


@pytest.mark.parametrize("name", [name for name in CELLS if name != "image_id"])
@pytest.mark.parametrize("folder", ["", "sub", "..", "gone"])
def test_every_odd_cell_alone(root: Path, name: str, folder: str) -> None:
    for cell in CELLS[name]:
        cells = {"image_id": ["p0", "p1"], "path": ["a.jpg", "c.jpg"], "date": ["2017-08-07", ""]}
        assert_same(root, [{**cells, name: [cell, cells.get(name, [""] * 2)[1]]}], folder=folder)


def test_a_large_plain_table_never_goes_row_by_row(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(*_: object, **__: object) -> None:
        raise AssertionError("a plain row was read alone")

    monkeypatch.setattr(TableBuilder, "add", add)
    builder = TableBuilder(root, Problems())
    plain = {"image_id": ["p0", "p1"], "path": ["a.jpg", "sub/c.jpg"], "timestamp": ["2017-08-07 20:38:36", ""]}
    builder.add_table(plain | {"individual_id": ["w1", "unknown"], "viewpoint": ["Top", "L"], "width": ["3", ""]},
                      Path("t.csv"), [2, 3], {}, root)  # fmt: skip
    assert builder.table()["individual_id"].tolist() == ["w1", None]
    assert builder.table()["viewpoint"].tolist() == ["top", "left"]
    assert builder.canonical


@given(st.text(alphabet="ab./\\: é\n", max_size=12))
@example("a/..")
@example("..")
@example("a.b/.")
@example("//")
def test_a_stem_is_what_pathlib_says(text: str) -> None:
    expected = PurePosixPath(written_path(text))
    if not expected.name.endswith("."):  # Python 3.14 has another opinion of these
        assert stem_of(text) == expected.stem


@pytest.mark.skipif(os.name == "nt", reason="no path is plain there")
@given(st.lists(st.text(alphabet="ab./\\:C é", min_size=1, max_size=10).map(str.strip).filter(bool), max_size=4))
@example(["c:/a"])
@example(["a", "."])
@example([".."])
@example(["a/."])
def test_plain_paths_are_what_the_rule_for_single_ones_says(texts: list[str]) -> None:
    for text, plain in zip(texts, plain_paths(texts), strict=True):
        if plain:
            assert str(inside(Path("/root/of"), text)) == f"/root/of/{text}"
    ordinary = [text for text in texts if text.replace("/", "").isalnum()]
    if "//" not in "".join(ordinary) and not any(text.startswith("/") or text.endswith("/") for text in ordinary):
        assert plain_paths(ordinary).all()


def test_links_are_left_to_those_who_follow_them(root: Path) -> None:
    found = files_there(str(root), ["a.jpg", "sub/c.jpg", "link.jpg", "nowhere.jpg", "sub/gone.jpg", "gone/a.jpg"])
    assert found.tolist() == [True, True, False, False, False, False]


@given(st.lists(st.text(alphabet="aA0019 _-é\u3000\uff11", min_size=1, max_size=6), unique=True, max_size=12))
def test_names_are_alike_by_their_likeness(names: list[str]) -> None:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(likeness(name), []).append(name)
    assert almost_the_same(names) == [group for group in groups.values() if len(group) > 1]


def test_days_and_moments_of_the_calendar_alone_are_plain() -> None:
    cells = ["2016-02-29", "2017-02-29", "2017-12-31 23:59:59", "2017-12-31 23:59:60", "", "NaT", "now", "9999-12-31"]
    found = read_times(cells)
    assert found.given.tolist() == [True, True, True, True, False, True, True, True]
    assert found.plain.tolist() == [True, False, True, False, False, False, False, True]
    assert found.day[[0, 2, 7]].astype(str).tolist() == ["2016-02-29", "2017-12-31", "9999-12-31"]
    assert found.moment[2] == np.datetime64("2017-12-31T23:59:59")
    assert np.isnat(found.moment[[0, 1, 3, 7]]).all()


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", " ", ",", ";", "\t", "\n", "\r\n", "\r", "\x0b", "\u2028", "'=1", "\ufeff", "sep=;"]),
        max_size=30,
    )
)
def test_regular_text_is_read_as_the_csv_module_reads_it(parts: list[str]) -> None:
    text = "".join(["x,y\n", *parts])
    regular, thorough = _read_regular(text), _read(text)
    if regular is not None:
        assert not isinstance(thorough, str)
        problems = Problems()
        assert (regular.cells, regular.lines) == _cells(Path("t.csv"), thorough, problems)
        assert (regular.columns, regular.header_line) == (thorough.columns, thorough.header_line)
        assert not len(problems)
