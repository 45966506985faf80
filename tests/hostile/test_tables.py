"""Tables as spreadsheets and people write them: read right, or refused with a word; never read wrong in silence."""

from __future__ import annotations

import json
import logging
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError, same_encounter
from engine.catalogue.check import check_catalog
from engine.catalogue.columns import SYNONYMS, understand_columns
from engine.catalogue.dates import parse_when, when_of
from engine.catalogue.fields import name_or_none, normalise_viewpoint, parse_size, text_of
from engine.catalogue.formats import read_catalog
from engine.catalogue.problems import Problems
from engine.catalogue.tables import decode, read_header, read_text_table
from scarmatch.errors import ScarmatchError


def photo(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (len(path.name) * 7 % 256, 90, 120)).save(path)
    return path


def table(folder: Path, text: str | bytes, name: str = "photos.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def read(path: Path) -> tuple[pd.DataFrame, Problems]:
    """Return the table by image id, and everything that was said."""
    ledger = Problems(strict=False)
    reading = read_catalog(path, problems=ledger)
    return reading.table.set_index("image_id"), ledger


def said(ledger: Problems) -> str:
    return "\n".join(f"{problem.severity}: {problem}" for problem in ledger)


# --- columns ---------------------------------------------------------------------------------------------------------


def test_a_metadata_table_with_other_names_for_its_columns_is_understood(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    header = "image_id,identity,path,date,orientation,species,split,dataset"
    table(tmp_path, f"{header}\n1,whale_7,images/a.png,2021-07-04,right,beluga,database,Belugas\n", "metadata.csv")
    row = Catalog.read(tmp_path).row("1")
    assert (row["individual_id"], row["viewpoint"], row["species"]) == ("whale_7", "right", "beluga")
    report = check_catalog(tmp_path)
    assert next(p.message for p in report.problems if p.severity == "info") == "2 columns are not used: split, dataset"
    assert report.ok


def test_ignored_columns_are_named_to_every_command(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo(tmp_path / "a.png")
    file = table(tmp_path, "image,individual,name,mood,\na.png,w1,Bob,calm,\n")
    with caplog.at_level(logging.INFO, "engine.catalogue"):
        Catalog.read(file)
    expected = "name ('individual' is taken for the individual_id), mood, (a column without a name)"
    assert caplog.text.count(expected) == 1


@pytest.mark.parametrize("names", [words.split() for words in SYNONYMS.values()], ids=SYNONYMS)
def test_every_column_is_used_or_named(names: list[str]) -> None:
    columns = understand_columns(["file", *names, "other"], {name: ["1"] for name in ("file", *names, "other")})
    assert set(columns.used.values()) | set(columns.ignored) == {"file", *names, "other"}
    assert not set(columns.used.values()) & set(columns.ignored)


@given(
    st.lists(st.sampled_from([w for words in SYNONYMS.values() for w in words.split()] + ["", "x y", "Ä"]), unique=True)
)
def test_no_column_is_lost_whatever_they_are_called(names: list[str]) -> None:
    columns = understand_columns(names, {name: ["3.25", ""] for name in names})
    told = {name if name != "(a column without a name)" else "" for name in columns.ignored}
    assert set(columns.used.values()) | told == set(names)


@pytest.mark.parametrize("name", ["photos.csv", "train.csv"])
def test_a_file_and_its_folder_are_read_alike_and_lose_nothing(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "a.png")
    header = "image,species,individual_id,date,viewpoint,encounter_id"
    file = table(tmp_path, f"{header}\na.png,orca,w1,2020-05-06,left,e9\n", name)
    first, second = Catalog.read(file), Catalog.read(tmp_path)
    pd.testing.assert_frame_equal(first.table, second.table)
    row = first.row("a")
    assert (str(row["date"].date()), row["viewpoint"], row["encounter_id"]) == ("2020-05-06", "left", "e9")
    plain = table(tmp_path / "plain", "image,species,individual_id\na.png,orca,w1\n", name)
    pd.testing.assert_frame_equal(Catalog.read(plain).table, Catalog.read(plain.parent).table)


def test_answers_beside_a_published_table_do_not_hide_it(tmp_path: Path) -> None:
    table(tmp_path, "image,identity,when\na.png,w1,x\n", "metadata.csv")
    table(tmp_path, "image_id,identity\n1,w1\n", "sample_submission.csv")
    assert Catalog.read(tmp_path).row("a")["individual_id"] == "w1"


# --- text ------------------------------------------------------------------------------------------------------------

TEXT = "image\tindividual\tdate\r\na.png\tÜnal クジラ\t7 Aug 2017\r\nb.png\tzoë\t2018-01-02\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["photos.csv", "photos.txt", "train.csv", "metadata.csv"])
def test_a_table_in_any_encoding_of_unicode(tmp_path: Path, encoding: str, name: str) -> None:
    file = table(tmp_path, TEXT.replace("クジラ", "x" * 30).encode(encoding), name)
    assert read_header(file) == ["image", "individual", "date"]
    rows, ledger = read(file)
    assert rows["individual_id"].to_dict() == {"a": f"Ünal {'x' * 30}", "b": "zoë"}
    assert said(ledger) == ""


def test_utf_16_with_a_byte_order_mark_and_no_western_letter(tmp_path: Path) -> None:
    rows, ledger = read(table(tmp_path, TEXT.encode("utf-16")))
    assert rows.loc["a", "individual_id"] == "Ünal クジラ"
    assert said(ledger) == ""


def test_an_encoding_that_is_guessed_is_said(tmp_path: Path) -> None:
    rows, ledger = read(table(tmp_path, "image,individual\na.png,Zoë\n".encode("cp1252")))
    assert rows.loc["a", "individual_id"] == "Zoë"
    assert "Windows-1252" in said(ledger)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"PK\x03\x04 workbook", "Excel workbook"),
        (b"image,individual\na.png,w\x00 1\n", "no text"),
        (b'image,individual\na.png,w1\nb.png,"w2\nc.png,w3\nd.png,w4\n', "line 3.*never closed"),
        (b"image,individual\na.png\n", "1 values"),
        (b"image,individual\na.png,w1,w2\n", "3 values"),
        (b"image,individual\na.png,w1\nmore,b.png,\n", "line 3.*3 values"),
        (b"", "empty"),
        (b"\xff\xfe", "empty"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, data: bytes, word: str) -> None:
    with pytest.raises(CatalogError, match=word):
        Catalog.read(table(tmp_path, data))


def test_excels_own_first_line_and_empty_cells_behind_the_last_column(tmp_path: Path) -> None:
    rows, ledger = read(table(tmp_path, "sep=;\r\nimage;individual\r\na.png;w, 1;;\r\n\r\n;;;\r\nb.png;w2;;\r\n"))
    assert rows["individual_id"].to_dict() == {"a": "w, 1", "b": "w2"}
    assert said(ledger) == ""


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = table(tmp_path_factory.getbasetemp() / "any", data)
    try:
        Catalog.read(file)
    except ScarmatchError as error:
        assert str(error).isprintable()


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])), min_size=2, max_size=2)
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_was_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, cells: list[list[str]], encoding: str, delimiter: str, newline: str
) -> None:
    cells = [row for row in cells if any(cell.strip() for cell in row)]
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [["file", "who"], *cells]]
    text = newline.join(quoted).replace("\n", newline) if newline == "\n" else newline.join(quoted)
    file = table(tmp_path_factory.getbasetemp() / "cells", text.encode(encoding))
    found = read_text_table(file, Problems(strict=False))
    assert [[row["file"], row["who"]] for row in found.rows] == cells


@given(st.binary(max_size=200))
def test_decoding_never_raises(data: bytes) -> None:
    text, encoding = decode(data)
    assert isinstance(text, str)
    assert encoding


# --- dates -----------------------------------------------------------------------------------------------------------


def test_date_and_time_in_two_columns(tmp_path: Path) -> None:
    rows, ledger = read(table(tmp_path, "image,date,time\na.png,7 Aug 2017,8:38 PM\nb.png,2017-08-07,\nc.png,,9:00\n"))
    assert rows.loc["a", "timestamp"] == pd.Timestamp("2017-08-07 20:38")
    assert pd.isna(rows.loc["b", "timestamp"])
    assert pd.isna(rows.loc["c", "date"])
    assert said(ledger).count("without a date") == 1


@pytest.mark.parametrize(
    ("clock", "expected"), [("12:30 PM", "12:30"), ("12:05 am", "00:05"), ("1:00PM", "13:00"), ("23:59", "23:59")]
)
def test_halves_of_the_day(clock: str, expected: str) -> None:
    when, errors, warnings = when_of({"date": "2017-08-07", "time": clock})
    assert when is not None and when.timestamp is not None
    assert (f"{when.timestamp:%Y-%m-%d %H:%M}", errors, warnings) == (f"2017-08-07 {expected}", [], [])


def test_hours_that_a_half_day_does_not_have_are_refused() -> None:
    assert when_of({"date": "2017-08-07", "time": "13:00 PM"})[1] == [("time", "'13:00 PM' is no time of day")]


@pytest.mark.parametrize(
    "values",
    [
        {"date": "2017", "timestamp": "2017-08-07 20:38"},
        {"date": "Aug 2017", "year": "2017", "month": "8", "day": "7", "time": "20:38"},
        {"date": "2017-08-07", "year": "2017", "time": "20:38"},
    ],
)
def test_the_day_goes_before_the_month_and_the_year(values: dict[str, str]) -> None:
    when, errors, warnings = when_of(values)
    assert when is not None
    assert (str(when.timestamp), str(when.date), errors, warnings) == ("2017-08-07 20:38:00", "2017-08-07", [], [])


def test_year_month_and_day_in_columns_of_their_own(tmp_path: Path) -> None:
    text = "image,Year,Month,Day\na.png,2017,8,7\nb.png,2017.0,Aug,\nc.png,2016,,\nd.png,,,\n"
    rows, ledger = read(table(tmp_path, text))
    assert said(ledger) == ""
    assert rows.loc["a", "date"] == pd.Timestamp("2017-08-07")
    assert pd.isna(rows.loc["b", "date"])
    spans = rows[["earliest", "latest"]].apply(lambda row: "/".join(str(day)[:10] for day in row), axis=1).to_dict()
    assert spans == {
        "a": "2017-08-07/2017-08-07",
        "b": "2017-08-01/2017-08-31",
        "c": "2016-01-01/2016-12-31",
        "d": "NaT/NaT",
    }


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2016", "2016-01-01", "2016-12-31"),
        ("2016.0", "2016-01-01", "2016-12-31"),
        ("2016-02", "2016-02-01", "2016-02-29"),
        ("2/2017", "2017-02-01", "2017-02-28"),
        ("Sept 2017", "2017-09-01", "2017-09-30"),
    ],
)
def test_a_month_or_a_year_can_be_given(text: str, first: str, last: str) -> None:
    when = parse_when(text)
    assert (str(when.earliest), str(when.latest), when.date) == (first, last, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [("42954", "Excel.*2017-08-07"), ("42954.86", "Excel"), ("1502138316", "since 1970.*2017-08-07 20:38:36")],
)
def test_numbers_that_stand_for_a_date_are_explained(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CatalogError, match=f"line 2, column 'date'.*{words}"):
        Catalog.read(table(tmp_path, f"image,date\na.png,{text}\n"))


def test_a_year_alone_filters_and_is_no_day(tmp_path: Path) -> None:
    text = "image,individual,date\na.png,w,2016\nb.png,w,2017\nc.png,w,2017-06-01\nd.png,w,\n"
    catalog = Catalog.read(table(tmp_path, text))
    assert catalog.filter(CandidateFilter(since="2017"))[0].ids == ["b", "c", "d"]
    assert catalog.filter(CandidateFilter(until="2016", require_date=True))[0].ids == ["a"]
    assert catalog.filter(CandidateFilter(until="2016-06-30", require_date=True))[0].ids == ["a"], "or in spring"
    assert catalog.filter(CandidateFilter(since="2017-07-01"))[0].ids == ["b", "d"], "it may have been in autumn"
    assert not same_encounter(catalog.row("b"), catalog.table).any(), "two of one year are not of one day"
    assert same_encounter(catalog.row("c"), catalog.table).tolist() == [False, False, True, False]


def test_zones_are_compared_as_moments(tmp_path: Path) -> None:
    times = {"a": "2017-08-07T20:00Z", "b": "2017-08-07 12:05-08:00", "c": "2017-08-07 12:05Z"}
    rows = "".join(f"{name}.png,w,{time}\n" for name, time in times.items())
    catalog = Catalog.read(table(tmp_path, f"image,individual,timestamp\n{rows}"))
    assert catalog.row("b")["timestamp"] == pd.Timestamp("2017-08-07 12:05"), "as it is written"
    assert catalog.table["utc_offset"].tolist() == [0, -480, 0]
    assert catalog.row("a")["encounter_id"] == catalog.row("b")["encounter_id"] != catalog.row("c")["encounter_id"]
    blank = Catalog(catalog.table.assign(encounter_id=None), tmp_path)
    assert same_encounter(blank.row("a"), blank.table).tolist() == [True, True, False]
    assert same_encounter(blank.row("b"), blank.table).tolist() == [True, True, False]


def test_a_time_without_a_zone_is_compared_as_it_is_written(tmp_path: Path) -> None:
    rows = "a.png,w,2017-08-07 12:05-08:00\nb.png,w,2017-08-07 12:20\nc.png,w,2017-08-07 20:10\n"
    catalog = Catalog.read(table(tmp_path, f"image,individual,timestamp\n{rows}"))
    assert catalog.row("a")["encounter_id"] == catalog.row("b")["encounter_id"] != catalog.row("c")["encounter_id"]
    blank = Catalog(catalog.table.assign(encounter_id=None), tmp_path)
    for name in ("a", "b"):
        assert same_encounter(blank.row(name), blank.table).tolist() == [True, True, False]


@given(st.dictionaries(st.sampled_from(["date", "timestamp", "time", "year", "month", "day"]), st.text(max_size=12)))
def test_any_text_is_a_time_or_a_message(values: dict[str, str]) -> None:
    when, errors, _ = when_of(values)
    assert when is None or when.earliest <= when.latest
    assert all(message.isprintable() or not "".join(values.values()).isprintable() for _, message in errors)


# --- names -----------------------------------------------------------------------------------------------------------


def test_spellings_that_certainly_mean_one_animal_are_one(tmp_path: Path) -> None:
    nfd = unicodedata.normalize("NFD", "Zoë")
    names = ["12", "12.0", "Zoë", nfd, "Zoë ", "\u00a0Old  Tom", "Old Tom"]
    text = "".join(f"{number}.png,{name}\n" for number, name in enumerate(names))
    rows, ledger = read(table(tmp_path, f"image,individual\n{text}"))
    assert rows["individual_id"].tolist() == ["12", "12", "Zoë", "Zoë", "Zoë", "Old Tom", "Old Tom"]
    assert said(ledger) == ""


def test_spellings_that_may_mean_one_animal_are_warned_of(tmp_path: Path) -> None:
    rows, ledger = read(table(tmp_path, "image,individual\na.png,Bob\nb.png,bob\nc.png,7\nd.png,007\ne.png,Bobby\n"))
    assert rows["individual_id"].tolist() == ["Bob", "bob", "7", "007", "Bobby"]
    assert [p.message for p in ledger] == [
        "'Bob', 'bob' are almost the same name and count as 2",
        "'7', '007' are almost the same name and count as 2",
    ]


def test_numbers_that_a_spreadsheet_cut_short_are_warned_of(tmp_path: Path) -> None:
    _, ledger = read(table(tmp_path, "image,individual\na.png,9.85E+14\n"))
    assert "cut short" in said(ledger)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none()))
def test_a_name_is_its_own_spelling(value: object) -> None:
    try:
        name = name_or_none(value)
    except ValueError:
        return
    assert name is None or name_or_none(name) == name
    assert name is None or name == name.strip() != ""


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text()), st.lists))
def test_any_json_value_is_typed_or_a_value_error(value: object) -> None:
    for parse in (text_of, name_or_none, normalise_viewpoint, parse_size):
        try:
            parse(value)
        except ValueError as error:
            assert str(error).isprintable() or isinstance(value, str)


# --- JSON ------------------------------------------------------------------------------------------------------------

GOOD = {
    "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
    "annotations": [{"id": 5, "image_id": 1, "bbox": [2, 3, 10, 10], "individual_id": "w1", "category_id": 1}],
    "categories": [{"id": 1, "name": "beluga"}],
    "individuals": [{"id": "w1", "name": "Will"}],
}
ODD: list[object] = [[3], {"a": 1}, 1e30, -1e30, float("inf"), "\ud800", "a\0b", True, [], [[1]], "x" * 5000, 10**300]


@pytest.mark.parametrize("odd", ODD, ids=[ascii(value)[:12] for value in ODD])
@pytest.mark.parametrize(
    ("key", "name"),
    [(key, name) for key, entries in GOOD.items() for name in entries[0]]
    + [("annotations", "viewpoint"), ("annotations", "name"), ("annotations", "date"), ("annotations", "encounter_id")],
)
def test_odd_values_in_coco_are_one_line(tmp_path: Path, key: str, name: str, odd: object) -> None:
    data = json.loads(json.dumps(GOOD))
    data[key][0][name] = odd
    file = table(tmp_path, json.dumps(data), "x.json")
    ledger = Problems(strict=False)
    rows = read_catalog(file, problems=ledger).table.iloc[:, 1:]
    good = read_catalog(table(tmp_path, json.dumps(GOOD), "y.json")).table.iloc[:, 1:]
    quiet = not any(problem.severity != "info" for problem in ledger)
    allowed = isinstance(odd, str) or odd == [] or isinstance(odd, int | float)
    assert not quiet or allowed or rows.equals(good), "what is no name, number or box was used without a word"
    check_catalog(file)


def test_ids_of_coco_are_alike_as_numbers_and_as_text(tmp_path: Path) -> None:
    data = json.loads(json.dumps(GOOD))
    data["annotations"][0]["image_id"] = "1"
    data["images"][0]["id"] = 1.0
    rows, ledger = read(table(tmp_path, json.dumps(data), "x.json"))
    assert rows.loc["a", "individual_id"] == "Will"
    assert said(ledger) == ""


def test_what_coco_says_of_the_animal_goes_before_what_it_says_of_the_picture(tmp_path: Path) -> None:
    data = json.loads(json.dumps(GOOD))
    data["images"][0] |= {"date_captured": "2017-08-07", "encounter_id": "picture"}
    data["annotations"][0] |= {"date": "2017-08-08", "encounter_id": "animal"}
    rows, _ = read(table(tmp_path, json.dumps(data), "x.json"))
    assert (str(rows.loc["a", "date"].date()), rows.loc["a", "encounter_id"]) == ("2017-08-08", "animal")


def test_fields_of_coco_that_are_not_used_are_named(tmp_path: Path) -> None:
    data = json.loads(json.dumps(GOOD))
    data["annotations"][0]["mood"] = "calm"
    _, ledger = read(table(tmp_path, json.dumps(data), "x.json"))
    assert "fields of 'annotations' that are not used: mood" in said(ledger)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"images": [], "images": [], "annotations": []}', "occurs twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": 1, "annotations": 2}', "it needs the lists"),
        ("3", "it needs the lists"),
    ],
)
def test_json_that_is_no_coco_is_one_line(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(CatalogError, match=word):
        Catalog.read(table(tmp_path, text, "x.json"), "coco")
