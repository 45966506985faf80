"""Names from a table become the decisions that lead to them, and no others; today's names know certainty."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.catalogue.problems import CatalogError
from engine.commands.main import main
from engine.exports.formats import export_catalog
from engine.exports.names_table import decisions_from_table
from engine.exports.records import ExportError, ExportSettings
from engine.exports.today import catalogue_today
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision

ROWS = [
    ("a1", "A", "2017", None),
    ("a2", "A", "2018", None),
    ("b1", "B", "2017", None),
    ("c1", "C", "2017", None),
    ("c2", "C", "2018", None),
    ("n1", None, "2017", None),
    ("n2", None, "2018", None),
]


def table(folder: Path, rows: dict[str, str], name: str = "names.csv") -> Path:
    pd.DataFrame({"image_id": list(rows), "name": list(rows.values())}).to_csv(folder / name, index=False)
    return folder / name


def after(catalog: Catalog, file: Path, review: Path) -> dict[str, str | None]:
    """Import a table and return everybody's name."""
    today, _ = catalogue_today(catalog, review if review.is_file() else None)
    with ReviewFile(review) as opened:
        opened.append(decisions_from_table(file, today, "Ada").decisions)
    today, _ = catalogue_today(catalog, review)
    return dict(zip(today.ids, today.table["individual_id"], strict=True))


def test_every_kind_of_change(make, tmp_path: Path) -> None:
    catalog = make(ROWS)
    wanted = {"a1": "Alba", "a2": "Alba", "b1": "C", "c1": "C", "c2": "Dora", "n1": "New", "n2": "C", "zz": "X"}
    names = decisions_from_table(table(tmp_path, wanted), catalog, "Ada")
    assert [(one.kind, one.images, one.name, one.individual) for one in names.decisions] == [
        ("rename", (), "Alba", "A"),
        ("merge", (), "C", "B"),
        ("split", ("c2",), "Dora", "C"),
        ("new_individual", ("n1",), "New", ""),
        ("move", ("n2",), "C", ""),
    ]
    assert {one.who for one in names.decisions} == {"Ada"}
    assert names.notes == (
        "1 photograph left out, which the catalogue does not have: 'zz'",
        "1 photograph with the name that they have today already",
    )
    del wanted["zz"]
    assert after(catalog, table(tmp_path, wanted), tmp_path / "r.db") == wanted
    again, _ = catalogue_today(catalog, tmp_path / "r.db")
    assert decisions_from_table(table(tmp_path, wanted), again, "Ada").decisions == (), "once is enough"


def test_two_names_change_places(make, tmp_path: Path) -> None:
    wanted = {"a1": "B", "a2": "B", "b1": "A"}
    names = after(make(ROWS), table(tmp_path, wanted), tmp_path / "r.db")
    assert {image: names[image] for image in wanted} == wanted


def test_three_become_one_new_name(make, tmp_path: Path) -> None:
    wanted = {"a1": "Z", "a2": "Z", "b1": "Z", "n1": "Z"}
    names = after(make(ROWS), table(tmp_path, wanted), tmp_path / "r.db")
    assert {image: names[image] for image in wanted} == wanted
    assert names["c1"] == "C" and names["n2"] is None


@pytest.mark.parametrize("sheet", ["xlsx", "csv"])
def test_a_wildbook_sheet_comes_back(make, tmp_path: Path, sheet: str) -> None:
    catalog = make([("a_1", "A", "2017", None), ("a-1", "A", "2017", None), ("b", None, "2018", None)])
    settings = ExportSettings(location="Here", species="Orcinus orca", sheet=sheet)
    written = export_catalog(catalog, tmp_path / "out", "wildbook", settings)
    assert decisions_from_table(written.files[0], catalog, "Ada").decisions == ()
    read = pd.read_excel if sheet == "xlsx" else pd.read_csv
    edited = read(written.files[0], dtype=str)
    edited["MarkedIndividual.individualID"] = ["A", "Other", "____"]
    (edited.to_excel if sheet == "xlsx" else edited.to_csv)(written.files[0], index=False)
    names = decisions_from_table(written.files[0], catalog, "Ada")
    assert [(one.kind, one.images, one.name) for one in names.decisions] == [("split", ("a-1",), "Other")]
    assert "1 photograph without a name in the table" in names.notes[0]


def test_photographs_are_found_by_path_and_by_a_name_of_their_own(make, tmp_path: Path) -> None:
    catalog = make(ROWS)
    rows = {
        "Encounter.mediaAsset0": ["C:\\photos\\A1.PNG", "catalogue/n1.png"],
        "Encounter.mediaAsset1": ["", "n2.png"],
    }
    pd.DataFrame({**rows, "Encounter.individualID": ["X", "Y"]}).to_csv(tmp_path / "t.csv", index=False)
    names = decisions_from_table(tmp_path / "t.csv", catalog, "Ada")
    assert [(one.kind, one.images, one.name) for one in names.decisions] == [
        ("split", ("a1",), "X"),
        ("new_individual", ("n1", "n2"), "Y"),
    ]


def test_a_photograph_of_several_animals_is_left_out_unless_it_is_named_by_its_id(make, tmp_path: Path) -> None:
    catalog = make(ROWS)
    both = catalog.table.copy()
    both.loc[1, "path"] = both.loc[0, "path"]
    catalog = Catalog(both, catalog.root)
    pd.DataFrame({"path": ["a1.png"], "name": ["X"]}).to_csv(tmp_path / "t.csv", index=False)
    names = decisions_from_table(tmp_path / "t.csv", catalog, "Ada")
    assert names.decisions == () and "name them by image_id" in names.notes[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,name\na1,X\na1,Y\n", "'a1' is 'X' in line 2 and 'Y' in line 3"),
        ("image_id,age\na1,4\n", "no column names the individual"),
        ("name\nX\n", "no column names the photograph"),
        ("image_id,name\na1," + "x" * 201 + "\n", "is no name for an individual"),
        ("image_id,name\na1,\x07\n", "line 2"),
    ],
)
def test_tables_that_say_nothing_clear(make, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        decisions_from_table(tmp_path / "t.csv", make(ROWS), "Ada")


def test_files_that_are_no_tables(make, tmp_path: Path) -> None:
    catalog = make(ROWS)
    with pytest.raises(CatalogError, match="cannot be read"):
        decisions_from_table(tmp_path / "none.csv", catalog, "Ada")
    pytest.importorskip("openpyxl")
    for name, data in (("none.xlsx", None), ("bad.xlsx", b"PK\x03\x04 and no more"), ("text.xlsx", b"image_id,name")):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(ExportError, match="no such file" if data is None else "save it as CSV"):
            decisions_from_table(tmp_path / name, catalog, "Ada")


def test_names_that_rest_on_a_guess_are_left_out(make, tmp_path: Path) -> None:
    catalog = make(ROWS)
    with ReviewFile(tmp_path / "r.db") as review:
        review.append(
            [
                Decision("same", "Ada", ("n1", "a1"), confidence="guessing"),
                Decision("same", "Ada", ("n2", "b1")),
                Decision("move", "Ada", ("c2",), name="A", confidence="fairly sure"),
            ]
        )

    def names(certainty: str) -> tuple[list[str | None], str]:
        today, notes = catalogue_today(catalog, tmp_path / "r.db", min_certainty=certainty)
        return today.table["individual_id"].tolist(), "\n".join(notes)

    assert names("guessing") == (["A", "A", "B", "C", "A", "A", "B"], "")
    assert names("fairly sure")[0] == ["A", "A", "B", "C", "A", None, "B"]
    certain, notes = names("certain")
    # c2 was called C, and may be A: neither is certain.
    assert certain == ["A", "A", "B", "C", None, None, "B"]
    assert "2 photographs without a name" in notes
    assert "1 decisions say nothing of their certainty and count as certain" in notes
    with pytest.raises(ExportError, match="no such file of decisions"):
        catalogue_today(catalog, tmp_path / "none.db")
    with pytest.raises(ExportError, match="choose among guessing, fairly sure, certain"):
        catalogue_today(catalog, None, min_certainty="sure")
    assert not (tmp_path / "none.db").exists()


def test_the_two_commands(make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = make(ROWS)
    export_catalog(catalog, catalog.root / "metadata.csv", "csv")
    review, names = tmp_path / "r.db", table(tmp_path, {"n1": "A", "n2": "?"})
    arguments = ["import", str(catalog.root), str(names), f"--decisions={review}", "--who=Ada"]
    assert main([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out == f"1 decisions would be added to {review}: 1 moved to another individual\n"
    assert not review.exists()
    assert main(arguments) == 0
    assert "note: 1 photograph without a name in the table" in capsys.readouterr().err
    out = tmp_path / "h.inp"
    given = ["export", str(catalog.root), "--as=mark", f"--output={out}", f"--decisions={review}"]
    assert main([*given, "--breaks=2017,2018,2019"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(out), str(tmp_path / "h-individuals.csv"), str(tmp_path / "h-occasions.csv")]
    assert "/* A */ 11 1;" in out.read_text(encoding="utf-8")
    assert "note: 1 photograph without a name: effort, but no capture" in said.err
    assert main(["export", str(catalog.root), "--as=mark", f"--output={tmp_path / 'h.txt'}"]) == 1
    assert "ends in .inp; name it so" in capsys.readouterr().err
