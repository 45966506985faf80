"""Every form is written whole, read back as it was as far as the form can hold it, and says what it cannot."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.exports.downloads import write_download
from engine.exports.folders import write_folders
from engine.exports.formats import EXPORTS, export_catalog
from engine.exports.names import folder_name, plain_name, unique_names
from engine.exports.records import ExportError, ExportSettings
from engine.exports.wildbook import KEY_FILE, ROWS

WHALES = ExportSettings(location="Cook Inlet", species="Delphinapterus leucas", sheet="csv")


@pytest.fixture
def herd(make) -> Catalog:
    """Names that no folder can have or that differ in case alone, dates of every kind, a box, a file of two animals."""
    catalog = make(
        [
            ("a1", "../../etc", "2017-06-10", "top"),
            ("a2", "=1+1", "2018-07", "left"),
            ("a3", "Nala", "2018", None),
            ("a4", "nala", None, "right"),
            ("a5", None, "2019-01-02", "top"),
            ("a6", "con", "2019-01-02", "top"),
        ],
        box=[None, (1, 2, 3, 4), None, None, None, None],
        photo_size=[(8, 6)] * 6,
        timestamp=[pd.Timestamp("2017-06-10 20:30:00"), *[pd.NaT] * 5],
        utc_offset=[-480, *[None] * 5],
        species=["beluga", "beluga", None, "beluga", "beluga", "beluga"],
    )
    table = catalog.table.copy()
    table.loc[5, "path"] = table.loc[4, "path"]
    return Catalog(table, catalog.root)


def test_a_table_is_read_back_as_it_was(herd: Catalog) -> None:
    written = export_catalog(herd, herd.root / "herd.csv", "csv")
    back = Catalog.read(written.files[0])
    assert written.notes == ()
    names = [
        "image_id",
        "path",
        "individual_id",
        "viewpoint",
        "date",
        "timestamp",
        "box",
        "species",
        "earliest",
        "latest",
    ]
    pd.testing.assert_frame_equal(back.table[names], herd.table[names])
    assert back.table["utc_offset"][0] == -480
    assert "'=1+1" in written.files[0].read_text(encoding="utf-8"), "no formula for a spreadsheet"


def test_a_table_elsewhere_says_that_it_is_no_catalogue(herd: Catalog, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (note,) = export_catalog(herd, elsewhere / "herd.csv", "csv").notes
    assert note.startswith("6 photographs do not lie below")
    assert Path(pd.read_csv(elsewhere / "herd.csv")["path"][0]).is_absolute()


def test_a_coco_file_is_read_back(herd: Catalog) -> None:
    written = export_catalog(herd, herd.root / "herd.json", "coco")
    data = json.loads(written.files[0].read_text(encoding="utf-8"))
    assert [len(data[key]) for key in ("images", "annotations", "categories")] == [5, 6, 1]
    assert data["annotations"][0]["bbox"] == [0, 0, 8, 6]
    assert "category_id" not in data["annotations"][2], "of an unknown species"
    back = Catalog.read(written.files[0])
    assert back.table["individual_id"].tolist() == herd.table["individual_id"].tolist()
    assert back.table["box"].tolist() == herd.table["box"].tolist()
    assert back.table["earliest"].tolist() == herd.table["earliest"].tolist()
    assert back.table["viewpoint"].tolist() == herd.table["viewpoint"].tolist()


def test_coco_reads_sizes_and_says_where_it_cannot(make) -> None:
    catalog = make([("a", "A", None, None), ("b", "B", None, None)])
    Path(catalog.table["path"][1]).write_bytes(b"no photograph")
    written = export_catalog(catalog, catalog.root / "x.json", "coco")
    data = json.loads(written.files[0].read_text(encoding="utf-8"))
    assert data["annotations"][0]["bbox"] == [0, 0, 8, 6]
    assert "bbox" not in data["annotations"][1]
    assert written.notes == ("1 photograph without a size, and so without a box: the file cannot be read",)
    assert data["categories"] == [{"id": 1, "name": "animal"}]
    assert [one["category_id"] for one in data["annotations"]] == [1, 1]


@pytest.mark.parametrize("how", ["link", "copy"])
def test_folders_hold_every_photograph_once_and_nothing_leads_out(herd: Catalog, tmp_path: Path, how: str) -> None:
    output = tmp_path / "out" / "folders"
    written = export_catalog(herd, output, "folders", ExportSettings(photos=how))
    found = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.png"))
    assert found == ["=1+1/a2.png", "Nala/a3.png", "_.._etc/a1.png", "a5.png", "con_/a5.png", "nala-2/a4.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue", "out"]
    assert all((output / name).is_symlink() == (how == "link") for name in found)
    text = "\n".join(written.notes)
    assert "3 individuals had to be renamed: '../../etc' is '_.._etc', 'nala' is 'nala-2', 'con' is 'con_'" in text
    assert "1 photograph with a box" in text
    assert Catalog.read(output, allow_outside=True).table["individual_id"].isna().sum() == 1


def test_files_of_one_name_do_not_overwrite_each_other(make, tmp_path: Path) -> None:
    catalog = make([("a", "A", None, None), ("b", "A", None, None), ("c", "A", None, None)])
    table = catalog.table.copy()
    for row, folder in enumerate(("x", "y", "z")):
        (catalog.root / folder).mkdir()
        moved = Path(table.loc[row, "path"]).rename(catalog.root / folder / ("IMG.png" if row < 2 else "img.png"))
        table.loc[row, "path"] = str(moved)
    write_folders(Catalog(table, catalog.root), tmp_path / "out", ExportSettings())
    linked = {path.name: path.resolve().parent.name for path in (tmp_path / "out" / "A").iterdir()}
    assert linked == {"IMG.png": "x", "IMG-2.png": "y", "img-3.png": "z"}


def test_happywhales_layout_is_read_back(herd: Catalog, tmp_path: Path) -> None:
    written = export_catalog(herd, tmp_path / "out", "happywhale")
    back = Catalog.read(tmp_path / "out", allow_outside=True)
    assert back.source == "happywhale"
    # The file that shows an unnamed animal and "con" counts for the one with a name.
    assert back.table["individual_id"].tolist() == ["../../etc", "=1+1", "Nala", "nala", "con"]
    assert "1 further animals of photographs that show several" in "\n".join(written.notes)
    assert not (tmp_path / "out" / "test_images").exists()


def test_wildbook_has_a_row_for_each_encounter(make, tmp_path: Path) -> None:
    catalog = make(
        [
            ("a_1", "Zoë", "2017-06-10", "left"),
            ("a-1", "Zoë", "2017-06-10", "right"),
            ("b", None, "2018-07", None),
            ("c", "C", "2018", None),
            ("d", "D", None, None),
        ],
        encounter_id=["e1", "e1", None, None, None],
        timestamp=[pd.Timestamp("2017-06-10 20:30:00"), pd.Timestamp("2017-06-10 20:29:00"), *[pd.NaT] * 3],
    )
    written = export_catalog(catalog, tmp_path / "out", "wildbook", WHALES.replace(submitter="ada"))
    sheet = pd.read_csv(tmp_path / "out" / "bulk-import-1.csv", dtype=str)
    assert sheet.columns.tolist() == [
        "Encounter.mediaAsset0",
        "Encounter.mediaAsset1",
        "Encounter.mediaAsset0.keywords",
        "Encounter.mediaAsset1.keywords",
        "MarkedIndividual.individualID",
        "Encounter.genus",
        "Encounter.specificEpithet",
        "Encounter.year",
        "Encounter.month",
        "Encounter.day",
        "Encounter.hour",
        "Encounter.minutes",
        "Encounter.locationID",
        "Encounter.otherCatalogNumbers",
        "Encounter.submitterID",
        "Encounter.state",
    ]
    first = ["a.1.png", "a.1.2.png", "left", "right", "Zoë", "Delphinapterus", "leucas", "2017", "6", "10", "20", "29"]
    assert sheet.iloc[0].tolist() == [*first, "Cook Inlet", "e1", "ada", "approved"]
    assert sheet["Encounter.month"].fillna("").tolist() == ["6", "7", ""]
    assert sheet["Encounter.state"].tolist() == ["approved", "unapproved", "approved"]
    assert written.notes == ("1 photograph left out: Wildbook asks for the year, which is not known",)
    key = pd.read_csv(tmp_path / "out" / KEY_FILE, dtype=str)
    assert key.to_numpy().tolist() == [["a.1.png", "a_1"], ["a.1.2.png", "a-1"], ["b.png", "b"], ["c.png", "c"]]
    assert sorted(path.name for path in (tmp_path / "out" / "photographs").iterdir()) == sorted(key["file"])


def test_wildbook_gets_200_encounters_a_sheet_and_no_formula(make, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    catalog = make([(f"i{n}", "=1+1" if n == 0 else f"w{n}", "2017-06-10", None) for n in range(ROWS + 1)])
    written = export_catalog(catalog, tmp_path / "out", "wildbook", WHALES.replace(sheet="xlsx"))
    assert [file.name for file in written.files[:2]] == ["bulk-import-1.xlsx", "bulk-import-2.xlsx"]
    assert "201 encounters on 2 sheets" in written.notes[0]
    page = openpyxl.load_workbook(written.files[0]).active
    cell = page.cell(2, [c.value for c in page[1]].index("MarkedIndividual.individualID") + 1)
    assert (page.max_row, cell.value, cell.data_type) == (ROWS + 1, "=1+1", "s")
    assert page.cell(2, [c.value for c in page[1]].index("Encounter.year") + 1).value == 2017


def test_wildbook_takes_the_catalogues_own_species_first(make, tmp_path: Path) -> None:
    catalog = make([("a", "A", "2017", None), ("b", "B", "2017", None)], species=["Orcinus_orca", "beluga"])
    export_catalog(catalog, tmp_path / "out", "wildbook", WHALES)
    sheet = pd.read_csv(tmp_path / "out" / "bulk-import-1.csv")
    assert sheet["Encounter.genus"].tolist() == ["Orcinus", "Delphinapterus"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [(ExportSettings(sheet="csv"), "name the location"), (WHALES.replace(species="beluga"), "name the species")],
)
def test_wildbook_asks_for_what_it_needs(herd: Catalog, tmp_path: Path, settings: ExportSettings, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        export_catalog(herd, tmp_path / "out", "wildbook", settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue"], "nothing half-written"


@pytest.mark.parametrize("form", [name for name, export in EXPORTS.items() if export.folder])
def test_photographs_that_are_not_there_are_named(herd: Catalog, tmp_path: Path, form: str) -> None:
    Path(herd.table["path"][0]).unlink()
    written = export_catalog(herd, tmp_path / "out", form, WHALES)
    assert "1 photograph left out because the file is not there: " in written.notes[0]
    assert "a1.png" in written.notes[0]


@pytest.mark.parametrize("form", list(EXPORTS))
def test_nothing_is_overwritten_and_nothing_is_exported_from_nothing(herd: Catalog, tmp_path: Path, form: str) -> None:
    with pytest.raises(ExportError, match="holds no photographs"):
        export_catalog(herd.take([]), tmp_path / "x", form)
    export = EXPORTS[form]
    wrong = tmp_path / ("full" if export.folder else "wrong.doc")
    if export.folder:
        wrong.mkdir()
        (wrong / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="name a new folder" if export.folder else f"ends in {export.ending}"):
        export_catalog(herd, wrong, form, WHALES)
    if not export.folder:
        with pytest.raises(ExportError, match="does not exist: make it first"):
            export_catalog(herd, tmp_path / "no" / f"x{export.ending}", form)
    with pytest.raises(ExportError, match="there is no form 'pdf'"):
        export_catalog(herd, tmp_path / "x", "pdf")


def test_links_that_a_system_refuses_leave_nothing(
    herd: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(1, "not allowed here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(ExportError, match="not allowed here; ask for copies instead"):
        export_catalog(herd, tmp_path / "out", "folders")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalogue"]


def test_names_are_made_fit_and_stay_apart() -> None:
    assert len(folder_name("é" * 300).encode()) <= 180
    assert folder_name("a\u202eb") == "a_b"
    names = unique_names(["a b", "a.b", "A.B", "鯨", "象"], plain_name, ".")
    assert names == {"a b": "a.b.3", "a.b": "a.b", "A.B": "A.B.2", "鯨": "x", "象": "x.2"}


def test_downloads_hold_what_the_files_would(herd: Catalog, survey: Catalog, tmp_path: Path) -> None:
    file = tmp_path / "download"
    write_download(herd, "csv", file)
    table = pd.read_csv(file)
    assert table["path"].tolist() == ["a1.png", "a2.png", "a3.png", "a4.png", "a5.png", "a5.png"], (
        "no path of the server"
    )
    write_download(herd, "coco", file)
    assert json.loads(file.read_text())["images"][0]["file_name"] == "a1.png"
    write_download(survey, "mark", file, ExportSettings(occasions="year"), ("said before",))
    stem = "capture-histories-mark"
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(
            [f"{stem}.inp", f"{stem}-individuals.csv", f"{stem}-occasions.csv", "notes.txt"]
        )
        assert "/* A */ 101 1;" in archive.read(f"{stem}.inp").decode()
        notes = archive.read("notes.txt").decode()
    assert notes.startswith("said before\n") and "1 photograph left out: without a date\n" in notes
    with pytest.raises(ExportError, match="there is no download 'tiff'"):
        write_download(herd, "tiff", file)


@pytest.mark.parametrize("form", ["folders", "happywhale", "wildbook"])
def test_a_download_of_photographs_holds_the_photographs_themselves(herd: Catalog, tmp_path: Path, form: str) -> None:
    settings = ExportSettings(location="Cook Inlet", species="Delphinapterus leucas", sheet="csv")
    write_download(herd, form, tmp_path / "download.zip", settings)
    photograph = Path(herd.row(herd.ids[0])["path"]).read_bytes()
    with zipfile.ZipFile(tmp_path / "download.zip") as archive:
        assert photograph in [archive.read(name) for name in archive.namelist()]
        assert not [info for info in archive.infolist() if info.external_attr >> 28 == 0xA], "no link"
        assert "notes.txt" in archive.namelist()
