"""Capture histories against an example worked out by hand (see the fixture ``survey``)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.exports.formats import export_catalog
from engine.exports.occasions import CaptureHistories, capture_histories
from engine.exports.records import ExportError, ExportSettings
from scarmatch.settings import SettingsError


def histories_of(result: CaptureHistories) -> dict[str, str]:
    return {name: result.history(row) for row, name in enumerate(result.individuals)}


def test_by_year(survey: Catalog) -> None:
    result = capture_histories(survey)
    assert [one.name for one in result.occasions] == ["2017", "2018", "2019"]
    assert histories_of(result) == {"A": "101", "B": "110", "C": "001", "E": "100"}
    assert result.counts.tolist() == [[2, 0, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0]]
    # p7 has no name: somebody looked in 2018, and saw B and another.
    assert result.efforts.tolist() == [4, 2, 2]
    assert result.first_seen.astype(str).tolist() == ["2017-06-10", "2017-07-15", "2019-08-01", "2017-01-01"]
    assert result.last_seen.astype(str).tolist() == ["2019-07-01", "2018-12-31", "2019-08-01", "2017-12-31"]
    assert result.intervals() == [0.9993, 0.9993]
    assert [note.split(":")[0] for note in result.notes] == [
        "1 photograph left out",
        "1 photograph without a name",
        "1 of 5 individuals were captured on no occasion",
    ]


def test_by_month_of_one_side(survey: Catalog) -> None:
    result = capture_histories(survey, ExportSettings(occasions="month", sides=("L",)))
    # September 2018 is effort by the photograph without a name; months without any photograph are none.
    assert [one.name for one in result.occasions] == ["2017-06", "2017-07", "2018-09", "2019-08"]
    assert histories_of(result) == {"A": "1000", "B": "0100", "C": "0001"}
    assert result.last_seen.astype(str).tolist() == ["2017-06-28", "2017-07-15", "2019-08-01"]
    assert (result.occasions[0].first, result.occasions[0].last) == (dt.date(2017, 6, 1), dt.date(2017, 6, 30))
    text = "\n".join(result.notes)
    assert "1 photograph left out: of another side" in text
    assert "2 photographs left out: the date is too vague" in text
    assert "2 of 5 individuals" in text
    every = capture_histories(survey, ExportSettings(occasions="month", sides=("left",), empty_occasions=True))
    assert len(every.occasions) == 27
    assert histories_of(every)["B"] == "01" + "0" * 25
    assert every.efforts.sum() == 5


def test_by_own_breaks(survey: Catalog) -> None:
    breaks = ("2017-06-01", "2017-07-01", "2018-01-01", "2019-01-01")
    result = capture_histories(survey, ExportSettings(occasions="breaks", breaks=breaks))
    assert [(one.first, one.last) for one in result.occasions] == [
        (dt.date(2017, 6, 1), dt.date(2017, 6, 30)),
        (dt.date(2017, 7, 1), dt.date(2017, 12, 31)),
        (dt.date(2018, 1, 1), dt.date(2018, 12, 31)),
    ]
    # "2018" lies within one occasion, "2017" does not; 2019 lies behind the end.
    assert histories_of(result) == {"A": "100", "B": "011"}
    assert "2 photographs left out: before the first break or after the last" in "\n".join(result.notes)
    wide = ("2010", "2011", "2020")
    kept = capture_histories(survey, ExportSettings(occasions="breaks", breaks=wide, empty_occasions=True))
    assert histories_of(kept)["A"] == "01"


def test_a_week_begins_on_monday_and_belongs_to_its_own_year(make) -> None:
    catalog = make([("a", "A", "2018-12-30", None), ("b", "A", "2018-12-31", None), ("c", "A", "2019-01-06", None)])
    result = capture_histories(catalog, ExportSettings(occasions="week"))
    assert [(one.name, one.first, one.last) for one in result.occasions] == [
        ("2018-W52", dt.date(2018, 12, 24), dt.date(2018, 12, 30)),
        ("2019-W01", dt.date(2018, 12, 31), dt.date(2019, 1, 6)),
    ]
    assert result.counts.tolist() == [[1, 2]]
    days = capture_histories(catalog, ExportSettings(occasions="day", empty_occasions=True))
    assert days.history(0) == "11000001"


def test_the_file_for_mark(survey: Catalog, tmp_path: Path) -> None:
    written = export_catalog(survey, tmp_path / "whales.inp", "mark")
    assert (tmp_path / "whales.inp").read_text(encoding="utf-8") == (
        "/* 3 occasions: 2017, 2018, 2019 */\n"
        "/* time intervals in years: 0.9993 0.9993 */\n"
        "/* A */ 101 1;\n/* B */ 110 1;\n/* C */ 001 1;\n/* E */ 100 1;\n"
    )
    assert [file.name for file in written.files] == ["whales.inp", "whales-individuals.csv", "whales-occasions.csv"]
    individuals = pd.read_csv(written.files[1], dtype=str)
    assert individuals["history"].tolist() == ["101", "110", "001", "100"]
    assert individuals["last_seen"].tolist() == ["2019-07-01", "2018-12-31", "2019-08-01", "2017-12-31"]
    occasions = pd.read_csv(written.files[2])
    assert occasions[["individuals", "photographs"]].to_numpy().tolist() == [[3, 4], [1, 2], [2, 2]]
    assert occasions["last_day"].tolist() == ["2017-12-31", "2018-12-31", "2019-12-31"]


def test_a_name_cannot_end_marks_comment(make, tmp_path: Path) -> None:
    catalog = make([("a", "x */ 111 1; /*", "2017", None), ("b", "B", "2018", None)])
    written = export_catalog(catalog, tmp_path / "x.inp", "mark")
    lines = written.files[0].read_text(encoding="utf-8").splitlines()[2:]
    assert lines == ["/* B */ 01 1;", "/* x * / 111 1; / * */ 10 1;"]
    assert any("had to be renamed" in note for note in written.notes)


def test_the_file_for_secr(make, tmp_path: Path) -> None:
    rows = [
        ("a", "O'Brien, #1", "2017-05-01", None),
        ("b", "O Brien 1", "2019-05-01", None),
        ("c", "O'Brien, #1", "2019-06-01", None),
        ("d", "O'Brien, #1", "2019-06-02", None),
    ]
    written = export_catalog(make(rows), tmp_path / "captures.csv", "secr")
    assert written.files[0].read_text(encoding="utf-8").splitlines() == [
        '# read.capthist("captures.csv", detector = "nonspatial", '
        'noccasions = 2, covnames = c("first_seen", "last_seen"))',
        "# Session,ID,Occasion,first_seen,last_seen",
        # One detection for an individual and occasion, however many photographs; no sign that R reads as another.
        "1,O.Brien.1,2,2019-05-01,2019-05-01",
        "1,O.Brien.1.2,1,2017-05-01,2019-06-02",
        "1,O.Brien.1.2,2,2017-05-01,2019-06-02",
    ]
    key = pd.read_csv(written.files[1], dtype=str)
    assert dict(zip(key["individual_id"], key["id"], strict=True)) == {
        "O Brien 1": "O.Brien.1",
        "O'Brien, #1": "O.Brien.1.2",
    }
    assert any("2 individuals had to be renamed" in note for note in written.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sides": ("top",)}, "the catalogue has: left, right"),
        ({"occasions": "breaks"}, "two breaks or more"),
        ({"occasions": "breaks", "breaks": ("2018", "2017")}, "do not rise"),
        ({"occasions": "breaks", "breaks": ("2018", "soon")}, "breaks: 'soon'"),
        ({"occasions": "breaks", "breaks": ("1990", "1991")}, "no photograph can be given to an occasion"),
    ],
)
def test_what_gives_no_history_is_said(survey: Catalog, options: dict[str, object], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        capture_histories(survey, ExportSettings().replace(**options))


def test_dates_and_names_are_asked_for(make) -> None:
    with pytest.raises(ExportError, match="no photograph has a date"):
        capture_histories(make([("a", "A", None, None)]))
    with pytest.raises(ExportError, match="no dated photograph has a name"):
        capture_histories(make([("a", None, "2017", None), ("b", "B", None, None)]))
    with pytest.raises(SettingsError, match="occasions must be one of"):
        ExportSettings(occasions="decade")  # type: ignore[arg-type]


def test_histories_by_a_plain_loop(make) -> None:
    rng = np.random.default_rng(4)
    days = pd.to_datetime(rng.choice(pd.date_range("2015-01-01", "2019-12-31"), 40))
    rows = [
        (f"i{n}", str(rng.choice(["A", "B", "C"])) if rng.random() < 0.8 else None, str(day.date()), None)
        for n, day in enumerate(days)
    ]
    result = capture_histories(make(rows), ExportSettings(occasions="month"))
    months = sorted({date[:7] for _, _, date, _ in rows})
    assert [one.name for one in result.occasions] == months
    for row, name in enumerate(result.individuals):
        mine = {date[:7] for _, who, date, _ in rows if who == name}
        assert result.history(row) == "".join("1" if month in mine else "0" for month in months)
