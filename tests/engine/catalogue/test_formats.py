"""Every format of a catalogue, from small made-up files, and what each reader says about a faulty one."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalogue.boxes import parse_box
from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.columns import match_columns
from engine.catalogue.dates import parse_date
from engine.catalogue.fields import normalise_viewpoint
from engine.catalogue.formats import read_catalog, sniff
from engine.catalogue.paths import inside
from engine.catalogue.problems import Problems
from engine.competitions.scenarios import (
    Scenario,
    all_against_all,
    answers_from_catalog,
    read_scenarios,
    write_scenarios,
)

HEADER = "image_id,path,height,width,viewpoint,date,timestamp,whale_id,encounter_id"
CHALLENGE = f"""{HEADER}
train0,images/train0.jpg,463,150,top,2017-08-07,2017-08-07 20:38:36,whale0,whale0-000
train1,images/train1.jpg,192,81,Left,2019-08-05,2019-08-05 16:49:13,whale1,whale1-000
"""


def write(path: Path, text: str | bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def challenge(folder: Path, *rows: str, header: str = HEADER) -> Path:
    write(folder / "metadata.csv", "\n".join([header, *rows]) + "\n")
    return folder


# --- single values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "date", "time"),
    [
        ("2017-08-07", "2017-08-07", None),
        ("2017-08-07 20:38:36", "2017-08-07", "20:38:36"),
        ("2017-08-07T20:38:36.250+02:00", "2017-08-07", "20:38:36"),
        ("2017:08:07 20:38:36", "2017-08-07", "20:38:36"),
        ("2017/8/7 9:05", "2017-08-07", "09:05:00"),
        ("20170807", "2017-08-07", None),
        ("7 Aug 2017", "2017-08-07", None),
        ("07-September-2017", "2017-09-07", None),
        ("August 7th, 2017", "2017-08-07", None),
        ("7.8.2017", "2017-08-07", None),
        ("25/12/2019", "2019-12-25", None),
        ("12/25/2019 23:59:59", "2019-12-25", "23:59:59"),
        ("05/05/2019", "2019-05-05", None),
    ],
)
def test_dates_are_read(text: str, date: str, time: str | None) -> None:
    day, stamp = parse_date(text)
    assert day.isoformat() == date
    assert (None if stamp is None else stamp.time().isoformat()) == time


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("03/04/2019", "day/month"),
        ("2019-02-30", "calendar"),
        ("2019-13-01", "calendar"),
        ("2019-01-01 25:00:00", "time of day"),
        ("31 Foo 2019", "calendar"),
        ("7/8/19", "not a date"),
        ("summer", "not a date"),
        ("2019-08/07", "not a date"),
    ],
)
def test_bad_dates_are_refused(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        parse_date(text)
    assert text in str(caught.value)
    assert "YYYY-MM-DD" in str(caught.value)


@given(st.datetimes(min_value=dt.datetime(1900, 1, 1), max_value=dt.datetime(2100, 1, 1)))
def test_iso_survives(moment: dt.datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert parse_date(moment.isoformat()) == (moment.date(), moment)


@given(st.text(max_size=20))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    try:
        day, _ = parse_date(text)
    except ValueError:
        return
    assert isinstance(day, dt.date)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Top", ("top", True)),
        (" up ", ("top", True)),
        ("dorsal", ("top", True)),
        ("L", ("left", True)),
        ("Right", ("right", True)),
        ("left side", ("left", True)),
        ("", (None, True)),
        (None, (None, True)),
        (float("nan"), (None, True)),
        ("unknown", (None, True)),
        ("Fluke", ("fluke", False)),
        ("backleft", ("backleft", False)),
    ],
)
def test_viewpoints(given: object, expected: tuple[str | None, bool]) -> None:
    assert normalise_viewpoint(given) == expected


def test_boxes_cover_what_was_marked() -> None:
    assert parse_box(["1.6", "2", "3.2", "4"], None) == (1, 2, 4, 4)
    assert parse_box([-5, -5, 20, 30], (10, 20)) == (0, 0, 10, 20)
    for values in ([1, 2, 3], [0, 0, 0, 5], ["a", 0, 1, 1], [50, 0, 5, 5], [0, 0, float("nan"), 1]):
        with pytest.raises(ValueError, match="box"):
            parse_box(values, (10, 20))


@pytest.mark.parametrize(
    "path", ["../x.jpg", "images/../../x.jpg", "/etc/passwd", "a\\..\\..\\x.jpg", "C:/x.jpg", ".."]
)
def test_paths_out_of_the_folder_are_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out"):
        inside(tmp_path / "root", path)
    if ":" not in path:
        inside(tmp_path / "root", path, allow_outside=True)


def test_paths_inside_the_folder(tmp_path: Path) -> None:
    assert inside(tmp_path, "images/../a.jpg") == tmp_path / "a.jpg"
    assert inside(tmp_path, str(tmp_path / "b.jpg")) == tmp_path / "b.jpg"
    assert inside(tmp_path, "sub\\c.jpg") == tmp_path / "sub" / "c.jpg"
    with pytest.raises(ValueError, match="leads out"):
        inside(tmp_path / "root", str(tmp_path / "rootling" / "a.jpg"))


# --- the challenge ---------------------------------------------------------------------------------------------------


def test_the_challenge_folder(tmp_path: Path) -> None:
    write(tmp_path / "metadata.csv", CHALLENGE)
    catalog = Catalog.read(tmp_path)
    assert catalog.source == "challenge"
    row = catalog.row("train1")
    assert row["path"] == str(tmp_path / "images" / "train1.jpg")
    assert (row["width"], row["height"], row["viewpoint"]) == (81, 192, "left")
    assert (row["individual_id"], row["encounter_id"]) == ("whale1", "whale1-000")
    assert row["timestamp"] == pd.Timestamp("2019-08-05 16:49:13")
    assert Catalog.read(tmp_path / "metadata.csv").ids == catalog.ids


def test_the_test_set_lacks_three_columns(tmp_path: Path) -> None:
    challenge(tmp_path, "t0,images/t0.jpg,463,150,top,2017-08-07", header="image_id,path,height,width,viewpoint,date")
    row = Catalog.read(tmp_path).row("t0")
    assert row["individual_id"] is None
    assert row["encounter_id"] is None
    assert pd.isna(row["timestamp"])
    assert row["date"] == pd.Timestamp("2017-08-07")


def test_encounters_are_derived_where_they_are_missing(tmp_path: Path) -> None:
    rows = [f"t{i},t{i}.jpg,2017-08-07 {time},w" for i, time in enumerate(["10:00:00", "10:59:00", "12:00:00"])]
    catalog = Catalog.read(challenge(tmp_path, *rows, header="image_id,path,timestamp,whale_id"))
    assert catalog.table["encounter_id"].tolist() == ["w-000", "w-000", "w-001"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,../a.jpg,1,1,top,2017-08-07,,,", ["line 3", "'path'", "leads out", "../a.jpg"]),
        ("a,a.jpg,1,1,top,2017-02-30,,,", ["line 3", "'date'", "2017-02-30"]),
        ("a,a.jpg,1,1,top,03/04/2019,,,", ["line 3", "'date'", "YYYY-MM-DD"]),
        ("a,a.jpg,tall,1,top,,,,", ["line 3", "'height'", "tall"]),
        ("a,a.jpg,1,0,top,,,,", ["line 3", "'width'", "0"]),
        ("first,b.jpg,1,1,top,,,,", ["line 3", "line 2", "'first'"]),
        (",b.jpg,1,1,top,,,,", ["line 3", "'image_id'", "missing"]),
        ("a,,1,1,top,,,,", ["line 3", "'path'", "missing"]),
        ("a,b.jpg,1", ["line 3", "3 values", "9 columns"]),
    ],
)
def test_a_faulty_row_is_named(tmp_path: Path, row: str, words: list[str]) -> None:
    challenge(tmp_path, "first,first.jpg,1,1,top,,,,", row)
    with pytest.raises(CatalogError) as caught:
        Catalog.read(tmp_path)
    assert all(word in str(caught.value) for word in ["metadata.csv", *words])
    ledger = Problems(strict=False)
    reading = read_catalog(tmp_path, problems=ledger)
    assert [problem.line for problem in ledger if problem.severity == "error"] == [3]
    assert "first" in reading.table["image_id"].tolist()


def test_lines_are_counted_in_the_file(tmp_path: Path) -> None:
    challenge(tmp_path, '"a","a\n.jpg",1,1,top,,,,', "", "b,b.jpg,1,1,top,nonsense,,,")
    with pytest.raises(CatalogError, match="line 5"):
        Catalog.read(tmp_path)


def test_outside_paths_are_read_when_allowed(tmp_path: Path) -> None:
    challenge(tmp_path / "root", "a,../a.jpg,1,1,top,,,,")
    assert Catalog.read(tmp_path / "root", allow_outside=True).row("a")["path"] == str(tmp_path / "a.jpg")


def test_missing_columns_are_named_with_those_found(tmp_path: Path) -> None:
    challenge(tmp_path, "a,b", header="image_id,photo")
    with pytest.raises(CatalogError, match=r"path is missing; found: image_id, photo"):
        Catalog.read(tmp_path, format="challenge")
    assert read_catalog(tmp_path).source == "csv", "a format of its own is not taken where a column would be lost"
    assert len(read_catalog(tmp_path, format="csv").table) == 1


def test_warnings_do_not_stop_the_reading(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    challenge(
        tmp_path,
        "a,a.jpg,1,1,fluke,2017-08-07,,,",
        "b,b.jpg,1,1,top,2999-01-01,,,",
        "c,c.jpg,1,1,top,2017-08-07,2017-08-08 00:00:01,w,e",
        "d,d.jpg,1,1,top,0217-08-07,,,",
    )
    assert Catalog.read(tmp_path).row("a")["viewpoint"] == "fluke"
    assert [word in caplog.text for word in ("'fluke'", "future", "2017-08-08", "0217")] == [True] * 4


# --- COCO ------------------------------------------------------------------------------------------------------------

COCO = {
    "info": {},
    "categories": [{"id": 1, "name": "beluga_whale"}],
    "images": [
        {"id": 10, "file_name": "000.jpg", "width": 100, "height": 50, "date_captured": "2017-08-07 20:38:36"},
        {"id": 11, "file_name": "001.jpg", "width": 100, "height": 50, "date_captured": "NA"},
        {"id": 12, "file_name": "002.jpg", "width": 100, "height": 50, "date_captured": "2017/08/08 01:02:03"},
    ],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 1, "bbox": [0, 0, 100, 50], "viewpoint": "up", "name": "whale0"},
        {"id": 2, "image_id": 11, "category_id": 1, "bbox": [10.5, 5, 20, 30], "viewpoint": "left", "name": "____"},
        {"id": 3, "image_id": 11, "category_id": 1, "bbox": [50, 5, 80, 30], "viewpoint": None, "individual_ids": [7]},
    ],
    "individuals": [{"id": 7, "name": "whale7"}],
}


def coco(folder: Path, data: object = COCO, subset: str = "train2022") -> Path:
    write(folder / "annotations" / f"instances_{subset}.json", json.dumps(data))
    for image in ("000", "001", "002"):
        write(folder / "images" / subset / f"{image}.jpg")
    return folder


def test_coco_as_wildbook_publishes_it(tmp_path: Path) -> None:
    for folder in (coco(tmp_path / "plain"), coco(tmp_path / "lila" / "beluga.coco").parent):
        catalog = Catalog.read(folder)
        assert catalog.source == "coco"
        assert catalog.ids == ["000", "001-a2", "001-a3", "002"]
        assert all(Path(path).is_file() for path in catalog.table["path"])
        whole = catalog.row("000")
        assert (whole["individual_id"], whole["viewpoint"], whole["box"]) == ("whale0", "top", None)
        assert (whole["species"], whole["timestamp"]) == ("beluga_whale", pd.Timestamp("2017-08-07 20:38:36"))
        nameless = catalog.row("001-a2")
        assert (nameless["individual_id"], nameless["box"]) == (None, (10, 5, 21, 30))
        assert (nameless["width"], nameless["height"]) == (21, 30)
        assert pd.isna(nameless["date"])
        clipped = catalog.row("001-a3")
        assert (clipped["individual_id"], clipped["viewpoint"], clipped["box"]) == ("whale7", None, (50, 5, 50, 30))
        assert catalog.row("002")["individual_id"] is None
    file = tmp_path / "plain" / "annotations" / "instances_train2022.json"
    assert Catalog.read(file).table["path"].tolist() == Catalog.read(tmp_path / "plain").table["path"].tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"annotations": [{"id": 1, "image_id": 99, "bbox": [0, 0, 1, 1]}]}, ["annotation 1", "no image"]),
        ({"annotations": [{"id": 1, "image_id": 10, "bbox": [0, 0, 0, 1]}]}, ["bbox", "no area"]),
        ({"annotations": {}}, ["lists images and annotations"]),
        ({"images": [{"id": 1, "file_name": "../../../x.jpg"}], "annotations": []}, ["leads out"]),
        ({"images": [{"id": 1}], "annotations": []}, ["images.file_name", "missing"]),
    ],
)
def test_faulty_coco(tmp_path: Path, change: dict, words: list[str]) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog.read(coco(tmp_path, {**COCO, **change}))
    assert all(word in str(caught.value) for word in words)


def test_a_long_coco_file_is_recognised(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n:06d}.jpg", "comment": "x" * 150} for n in range(9000)]
    annotations = [{"id": n, "image_id": n, "comment": "x" * 150} for n in range(9000)]
    text = json.dumps({"images": images, "annotations": annotations})
    assert 1.5e6 < text.index('"annotations"') < len(text) - 1.5e6
    file = write(tmp_path / "annotations" / "big.json", text)
    write(tmp_path / "empty.json", "")
    write(tmp_path / "other.json", '{"images": 1}')
    assert sniff(tmp_path) == "coco"
    assert len(read_catalog(file).table) == 9000


def test_two_coco_files_may_not_share_a_photograph(tmp_path: Path) -> None:
    one = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}
    for name in ("one", "two"):
        write(tmp_path / f"{name}.json", json.dumps(one))
    assert read_catalog(tmp_path / "one.json").table["image_id"].tolist() == ["a"]
    with pytest.raises(CatalogError, match=r"two\.json.*'a-i1' occurs before, in .*one\.json"):
        Catalog.read(tmp_path)


def test_a_photograph_may_be_called_unknown(tmp_path: Path) -> None:
    write(tmp_path / "w1" / "unknown.jpg")
    write(tmp_path / "w1" / "none.jpg")
    assert Catalog.read(tmp_path).ids == ["none", "unknown"]


def test_json_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"x\.json, line 2"):
        Catalog.read(write(tmp_path / "x.json", '{"images": [],\n!'))


# --- Happywhale, plain CSV, folders ----------------------------------------------------------------------------------


def test_happywhale(tmp_path: Path) -> None:
    write(
        tmp_path / "train.csv", "image,species,individual_id\na.jpg,kiler_whale,k1\nb.jpg,globis,p1\nc.jpg,beluga,b1\n"
    )
    write(tmp_path / "train_images" / "a.jpg")
    catalog = Catalog.read(tmp_path)
    assert catalog.source == "happywhale"
    assert catalog.ids == ["a.jpg", "b.jpg", "c.jpg"]
    assert catalog.table["species"].tolist() == ["killer_whale", "short_finned_pilot_whale", "beluga"]
    assert catalog.row("a.jpg")["path"] == str(tmp_path / "train_images" / "a.jpg")
    assert Catalog.read(tmp_path / "train.csv").source == "happywhale"


def test_happywhale_test_images_alone(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPG", "notes.txt"):
        write(tmp_path / "test_images" / name)
    catalog = Catalog.read(tmp_path)
    assert catalog.ids == ["a.JPG", "b.jpg"]
    assert catalog.table["individual_id"].tolist() == [None, None]


@pytest.mark.parametrize(
    "text",
    [
        "file,whale,date,side\na.jpg,Ünal,2017-08-07,R\n",
        "\ufefffile;whale;date;side\r\na.jpg;Ünal;07.08.2017;right\r\n",
        'File\tWhale\tDate\tSide\n"a.jpg"\tÜnal\t7 Aug 2017\tr\n\n',
        "Side,Date,WHALE-ID,File Name\nright,20170807,Ünal,a.jpg",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_a_plain_csv_however_it_is_written(tmp_path: Path, text: str, encoding: str) -> None:
    if encoding == "latin-1":
        text = text.lstrip("\ufeff")
    write(
        tmp_path / "my whales.csv",
        text.lstrip("\ufeff").encode(encoding) if encoding == "utf-16" else text.encode(encoding),
    )
    row = Catalog.read(tmp_path).row("a")
    assert (row["individual_id"], row["viewpoint"], row["date"]) == ("Ünal", "right", pd.Timestamp("2017-08-07"))
    assert row["path"] == str(tmp_path / "a.jpg")


def test_a_plain_csv_with_boxes_and_an_images_folder(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.jpg")
    table = write(tmp_path / "t.csv", 'image,bbox,id\na.jpg,"[1, 2, 30, 40]",w1\nsub/a.jpg,,w2\n')
    catalog = Catalog.read(table)
    assert catalog.table["box"].tolist() == [(1, 2, 30, 40), None]
    assert catalog.table["individual_id"].tolist() == ["w1", "w2"]
    assert catalog.ids == ["a.jpg", "sub/a.jpg"]
    assert catalog.row("a.jpg")["path"] == str(tmp_path / "images" / "a.jpg")
    write(table, "image,x,y,w,h,width,height\na.jpg,1,2,30,40,20,100\n")
    assert Catalog.read(table).row("a")["box"] == (1, 2, 19, 40)
    write(table, "image,x,y,w,h\na.jpg,1,2,,40\n")
    with pytest.raises(CatalogError, match=r"line 2.*box"):
        Catalog.read(table)


def test_a_csv_without_photographs_names_its_columns(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "whale,where\nw1,here\n")
    with pytest.raises(CatalogError, match=r"the columns are: whale, where.*image_path"):
        Catalog.read(table)
    write(table, "")
    with pytest.raises(CatalogError, match="empty"):
        Catalog.read(table)
    write(table, "image,image\na,b\n")
    with pytest.raises(CatalogError, match="occurs twice"):
        Catalog.read(table)
    write(table, "image,whale\n")
    with pytest.raises(CatalogError, match="no photographs"):
        Catalog.read(table)


def test_id_means_the_photograph_only_beside_an_individual() -> None:
    assert match_columns(["id", "file"]) == {"path": "file", "individual_id": "id"}
    assert match_columns(["id", "file", "whale_id"]) == {"path": "file", "image_id": "id", "individual_id": "whale_id"}
    assert match_columns(["image_id", "file", "name"]) == {
        "path": "file",
        "image_id": "image_id",
        "individual_id": "name",
    }


def test_folders_named_by_individual(tmp_path: Path) -> None:
    for name in (
        "w1/a.JPG",
        "w1/b.png",
        "w2/c.jpeg",
        "unknown/d.jpg",
        "loose.jpg",
        "w2/deep/e.jpg",
        "w2/readme.txt",
        ".x/f.jpg",
    ):
        write(tmp_path / name)
    ledger = Problems(strict=False)
    reading = read_catalog(tmp_path, problems=ledger)
    table = reading.table.set_index("image_id")["individual_id"]
    assert reading.source == "folders"
    assert table.to_dict() == {"loose": None, "d": None, "a": "w1", "b": "w1", "c": "w2"}
    assert [problem.severity for problem in ledger] == ["warning"]
    assert "deep" in str(ledger.items[0])
    write(tmp_path / "w2" / "a.jpg")
    assert "w2/a.jpg" in Catalog.read(tmp_path).ids


def test_what_was_looked_for_is_listed(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog.read(tmp_path)
    assert all(word in str(caught.value) for word in ("metadata.csv", "COCO", "train.csv", "test_images", "CSV"))
    with pytest.raises(CatalogError, match="no such file"):
        Catalog.read(tmp_path / "nowhere")
    with pytest.raises(CatalogError, match="known ones: auto, challenge"):
        Catalog.read(tmp_path, format="excel")
    with pytest.raises(CatalogError, match="folder it lies in"):
        sniff(write(tmp_path / "a.jpg"))


# --- scenarios -------------------------------------------------------------------------------------------------------


def scenario(tmp_path: Path, index: str, queries: str, database: str) -> Path:
    write(tmp_path / "query_scenarios.csv", index)
    write(tmp_path / "queries" / "s1.csv", queries)
    write(tmp_path / "databases" / "s1.csv", database)
    return tmp_path


GOOD = (
    "scenario_id,queries_path,database_path\ns1,queries/s1.csv,databases/s1.csv\n",
    "query_id,query_image_id\ns1-a,a\ns1-b,b\n",
    "database_image_id\na\nb\nc\n",
)


def test_scenarios_are_read_and_written(tmp_path: Path) -> None:
    found = read_scenarios(scenario(tmp_path, *GOOD), known_ids=["a", "b", "c"])
    assert [s.scenario_id for s in found] == ["s1"]
    assert found[0].queries.to_dict("list") == {"query_id": ["s1-a", "s1-b"], "query_image_id": ["a", "b"]}
    assert found[0].database == ["a", "b", "c"]
    write_scenarios(found, tmp_path / "copy")
    again = read_scenarios(tmp_path / "copy")
    assert again[0].database == found[0].database
    pd.testing.assert_frame_equal(again[0].queries, found[0].queries)


@pytest.mark.parametrize(
    ("position", "text", "words"),
    [
        (0, "scenario_id,queries\ns1,queries/s1.csv\n", ["queries_path, database_path is missing"]),
        (0, "scenario_id,queries_path,database_path\n", ["names no scenario"]),
        (0, GOOD[0].replace("queries/s1", "../s1"), ["line 2", "leads out"]),
        (0, GOOD[0].replace("queries/s1", "queries/s2"), ["line 2", "no such file"]),
        (0, GOOD[0] + "s1,queries/s1.csv,databases/s1.csv\n", ["line 3", "occurs twice"]),
        (0, GOOD[0] + "s2,queries/s1.csv,databases/s1.csv\n", ["line 2", "'s1-a' occurs before"]),
        (1, GOOD[1] + "s1-a,c\n", ["line 4", "line 2", "'s1-a'"]),
        (1, GOOD[1] + "s1-z,z\n", ["line 4", "'z' is not in the catalogue"]),
        (1, "query_id,query_image_id\n", ["no queries"]),
        (2, GOOD[2] + "z\n", ["line 5", "'z' is not in the catalogue"]),
        (2, GOOD[2] + "a\n", ["line 5", "line 2", "'a'"]),
        (2, "image_id\na\n", ["database_image_id is missing"]),
    ],
)
def test_faulty_scenarios(tmp_path: Path, position: int, text: str, words: list[str]) -> None:
    texts = list(GOOD)
    texts[position] = text
    with pytest.raises(CatalogError) as caught:
        read_scenarios(scenario(tmp_path, *texts), known_ids=["a", "b", "c"])
    assert all(word in str(caught.value) for word in words)


def test_answers_leave_out_the_query_and_queries_without_match() -> None:
    table = pd.DataFrame(
        {"image_id": list("abcde"), "path": list("abcde"), "individual_id": ["x", "x", "x", "y", None]}
    )
    catalog = Catalog(table, Path("/x"))
    answers = answers_from_catalog(catalog, [all_against_all(catalog)])
    assert answers.groupby("query_id")["database_image_id"].agg(list).to_dict() == {
        "a": ["b", "c"],
        "b": ["a", "c"],
        "c": ["a", "b"],
    }
    queries = pd.DataFrame({"query_id": ["q1", "q2"], "query_image_id": ["a", "d"]})
    answers = answers_from_catalog(catalog, [Scenario("s", queries, ["b", "e"])])
    assert answers.to_numpy().tolist() == [["q1", "b", "s"]]


@pytest.mark.real_data
def test_the_real_catalogue_reads_the_same_through_a_plain_csv(real_catalog_dir: Path) -> None:
    first = read_catalog(real_catalog_dir)
    second = read_catalog(real_catalog_dir, format="csv")
    assert (first.source, second.source) == ("challenge", "csv")
    pd.testing.assert_frame_equal(first.table, second.table)
