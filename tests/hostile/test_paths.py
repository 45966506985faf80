"""Paths from other systems, other spellings of one file, and photographs that are left out: found, or said."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
from engine.catalogue.formats import read_catalog
from engine.catalogue.paths import inside, stem_of
from engine.catalogue.problems import Problems
from engine.catalogue.queries import find_photograph, query_catalog
from features.photo import read_photo
from features.photo_error import PhotoError


def photo(path: Path, kind: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (len(path.name) * 7 % 256, 90, 120)).save(path, kind)
    return path


def said(folder: Path) -> list[str]:
    ledger = Problems(strict=False)
    read_catalog(folder, problems=ledger)
    return [f"{problem.severity}: {problem.message}" for problem in ledger]


# --- where photographs lie -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photos.csv", "metadata.csv"])
def test_the_folder_is_found_from_any_photograph(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "images/b.png")
    (tmp_path / name).write_text("image_id,path\n1,gone.png\n2,b.png\n")
    assert Catalog.read(tmp_path).row("2")["path"] == str(tmp_path / "images/b.png")


@pytest.mark.parametrize("first", ["images\\gone.png", "images\\x.png"])
def test_coco_and_tables_from_windows(tmp_path: Path, first: str) -> None:
    photo(tmp_path / "images/x.png")
    images = [{"id": 1, "file_name": first}, {"id": 2, "file_name": "images\\x.png"}][0 if "gone" in first else 1 :]
    (tmp_path / "x.json").write_text(json.dumps({"images": images, "annotations": []}))
    assert Catalog.read(tmp_path).row("x")["path"] == str(tmp_path / "images/x.png")
    (tmp_path / "x.json").unlink()
    (tmp_path / "t.csv").write_text("image,individual\nimages\\x.png,w\n")
    assert Catalog.read(tmp_path).row("x")["path"] == str(tmp_path / "images/x.png")


@pytest.mark.parametrize(
    ("on_disk", "in_table"),
    [
        (unicodedata.normalize("NFD", "Zoë.png"), unicodedata.normalize("NFC", "Zoë.png")),
        (unicodedata.normalize("NFC", "Zoë.png"), unicodedata.normalize("NFD", "Zoë.png")),
        ("Shot 8.38\u202fPM.png", "Shot 8.38 PM.png"),
        ("a b.png", "a\u00a0b.png"),
    ],
)
def test_a_name_in_another_unicode_form_is_found_and_said(tmp_path: Path, on_disk: str, in_table: str) -> None:
    photo(tmp_path / "images" / on_disk)
    (tmp_path / "t.csv").write_text(f"image,individual\nimages/{in_table},w\n", encoding="utf-8")
    catalog = Catalog.read(tmp_path)
    assert catalog.table["path"].tolist() == [str(tmp_path / "images" / on_disk)]
    assert ["another Unicode form" in line for line in said(tmp_path)] == [True]


def test_a_name_in_other_case_is_said_and_not_taken(tmp_path: Path) -> None:
    photo(tmp_path / "IMG_1.JPG")
    (tmp_path / "t.csv").write_text("image\nimg_1.jpg\n")
    assert not Path(Catalog.read(tmp_path).row("img_1")["path"]).exists()
    assert ["'IMG_1.JPG'" in line for line in said(tmp_path)] == [True]


@pytest.mark.parametrize("name", ["a" * 5000 + ".png", "a\0.png", "C:\\x.png", "..", "con\ud800.png", "", " ", "/"])
def test_what_is_no_path_is_one_line(tmp_path: Path, name: str) -> None:
    data = {"images": [{"id": 1, "file_name": name}], "annotations": []}
    (tmp_path / "x.json").write_text(json.dumps(data))
    try:
        catalog = Catalog.read(tmp_path)
    except CatalogError as error:
        assert str(error).isprintable()
    else:
        assert Path(catalog.table["path"].iloc[0]).name != ""


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_path_stays_inside_or_is_refused(text: str) -> None:
    root = Path("/catalogue")
    try:
        path = inside(root, text)
    except ValueError:
        return
    assert path == root or root in path.parents
    assert ".." not in path.parts


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_stem_has_no_folder_of_any_system(text: str) -> None:
    assert not set(stem_of(text)) & {"/", "\\"}


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("a.jfif", "JPEG"), ("b.gif", "GIF"), ("c.mpo", "JPEG"), ("d.JPE", "JPEG")])
def test_what_pillow_reads_is_read(tmp_path: Path, name: str, kind: str) -> None:
    photo(tmp_path / "w1" / name, kind)
    assert Catalog.read(tmp_path).table["individual_id"].tolist() == ["w1"]
    assert [Path(path).name for path in Catalog.from_photos([tmp_path / "w1"]).table["path"]] == [name]


def test_photographs_that_are_left_out_are_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.photo_formats.pillow_formats", lambda: ("JPEG", "PNG"))
    photo(tmp_path / "w1/a.png")
    for name in ("IMG_2.HEIC", "IMG_3.heic", "x.CR2", "notes.txt", "._a.HEIC"):
        (tmp_path / "w1" / name).write_bytes(b"x")
    lines = said(tmp_path)
    assert any("2 photographs are left out (IMG_2.HEIC, IMG_3.heic)" in line for line in lines)
    assert any("1 photograph is left out (x.CR2)" in line for line in lines)
    assert len(lines) == 2
    assert Catalog.from_photos([tmp_path / "w1"]).ids == ["a"]
    assert "scarmatch[heic]" in caplog.text
    with pytest.raises(CatalogError, match="no photographs given"):
        (tmp_path / "w1/a.png").unlink()
        Catalog.from_photos([tmp_path / "w1"])


def test_a_photograph_that_needs_an_extra_names_it_as_a_query_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.photo_formats.pillow_formats", lambda: ("JPEG", "PNG"))
    (tmp_path / "IMG_2.HEIC").write_bytes(b"\0\0\0\x18ftypheic" * 9)
    (tmp_path / "odd.jpg").write_bytes(b"no photograph")
    query = Catalog.from_photos([tmp_path / "IMG_2.HEIC"]).table["path"].iloc[0]
    with pytest.raises(PhotoError, match=r"scarmatch\[heic\]"):
        read_photo(query)
    with pytest.raises(PhotoError, match="known format"):
        read_photo(tmp_path / "odd.jpg")


def test_a_file_name_that_is_no_text_is_left_out_and_said(tmp_path: Path) -> None:
    photo(tmp_path / "w1/a.png")
    odd = tmp_path / "w1" / "caf\udce9.png"
    try:
        odd.write_bytes((tmp_path / "w1/a.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes names of valid UTF-8 only")
    assert Catalog.read(tmp_path).ids == ["a"]
    assert ["caf\\udce9.png" in line for line in said(tmp_path)] == [True]


# --- one file by several paths ---------------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    for name in ("a", "b", "c"):
        photo(tmp_path / f"cat/images/{name}.png")
    rows = "a,images/a.png,w1,left,2020-01-01,e1\nb,images/b.png,w1,,2020-01-01,e1\nc,images/c.png,w2,,,\n"
    (tmp_path / "cat/metadata.csv").write_text(f"image_id,path,whale_id,viewpoint,date,encounter_id\n{rows}")
    (tmp_path / "link").symlink_to(tmp_path / "cat/images")
    return Catalog.read(tmp_path / "cat")


@pytest.mark.parametrize(
    "path", ["cat/images/a.png", "cat/images/../images/a.png", "link/a.png", "./cat//images/a.png"]
)
def test_a_catalogue_photograph_by_any_path_keeps_what_is_known(
    tmp_path: Path, catalog: Catalog, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (path, tmp_path / path):
        query = query_catalog([name], catalog)
        assert query.ids == ["a"]
        kept, report = CandidateFilter(exclude_encounter=True).report_for(query.row("a"), catalog)
        assert kept.tolist() == [False, False, True]
        assert dict(report.dropped)["encounter of the query"] == 1
        assert find_photograph(name, catalog) == "a"


def test_it_is_decided_photograph_by_photograph(tmp_path: Path, catalog: Catalog) -> None:
    new = photo(tmp_path / "new/c.png")
    queries = query_catalog([new, tmp_path / "link", tmp_path / "cat/images/b.png"], catalog, "right", "2021-05")
    assert queries.ids == ["c-2", "a", "b", "c"]
    assert queries.table["individual_id"].tolist() == [None, "w1", "w1", "w2"]
    assert queries.table["viewpoint"].tolist() == ["right", "left", "right", "right"], "what is known goes first"
    assert [str(day)[:10] for day in queries.table["latest"]] == [
        "2021-05-31",
        "2020-01-01",
        "2020-01-01",
        "2021-05-31",
    ]
    assert queries.table["date"].isna().tolist() == [True, False, False, True]
    assert query_catalog(["b"], catalog).ids == ["b"], "an id of the catalogue will do"
    with pytest.raises(CatalogError, match="no such photograph"):
        query_catalog(["nobody"], catalog)


def test_what_contradicts_the_catalogue_is_said(
    tmp_path: Path, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    query_catalog([tmp_path / "cat/images/a.png"], catalog, "right", "2021-05")
    assert "viewpoint of a is kept" in caplog.text
    assert "date of a is kept" in caplog.text


def test_a_file_named_twice_is_asked_once(tmp_path: Path, catalog: Catalog) -> None:
    new = photo(tmp_path / "new/x.png")
    assert query_catalog([new, new.parent, new], catalog).ids == ["x"]
    assert Catalog.from_photos([new, new.parent / "../new/x.png"]).ids == ["x"]
