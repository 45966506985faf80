"""The check of a catalogue finds every planted fault, with file, line and way out, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.catalogue.check import CheckReport, check_catalog
from engine.competitions.scenarios import read_scenarios

HEADER = "image_id,path,height,width,viewpoint,date,timestamp,whale_id,encounter_id"


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (30, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def metadata(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


def good(folder: Path) -> list[str]:
    """Two photographs of one individual, and their rows."""
    rows = []
    for number in range(2):
        photo(folder / f"images/t{number}.jpg", seed=number)
        rows.append(f"t{number},images/t{number}.jpg,60,30,top,2017-08-0{number + 1},,w,e{number}")
    return rows


def errors(report: CheckReport) -> list[tuple[int | None, str | None]]:
    return [(p.line, p.column) for p in report.problems if p.severity == "error"]


def warnings(report: CheckReport) -> list[tuple[int | None, str | None]]:
    return [(p.line, p.column) for p in report.problems if p.severity == "warning"]


def test_a_good_catalogue(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = check_catalog(
        metadata(tmp_path, *good(tmp_path)), progress=lambda done, total: calls.append((done, total))
    )
    assert report.ok
    assert report.problems == ()
    assert calls == [(1, 2), (2, 2)]
    assert report.summary is not None
    assert report.summary.photographs == 2
    assert "no problems found" in report.render()


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
def test_every_planted_fault_is_found(tmp_path: Path, decode: bool, workers: int) -> None:
    rows = good(tmp_path)
    photo(tmp_path / "images/wide.png", seed=3, size=(60, 30))
    photo(tmp_path / "outside.png", seed=4)
    (tmp_path / "images/copy.jpg").write_bytes((tmp_path / "images/t0.jpg").read_bytes())
    whole = photo(tmp_path / "images/cut.jpg", seed=5, size=(200, 200)).read_bytes()
    (tmp_path / "images/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "images/text.jpg").write_text("not an image")
    (tmp_path / "images/empty.jpg").write_bytes(b"")
    rows += [
        "missing,images/missing.jpg,60,30,top,2017-08-01,,w,e0",  # line 4
        "text,images/text.jpg,60,30,top,2017-08-01,,w,e0",  # 5
        "empty,images/empty.jpg,60,30,top,2017-08-01,,w,e0",  # 6
        "cut,images/cut.jpg,200,200,top,2017-08-01,,w,e0",  # 7
        "t0,images/t1.jpg,60,30,top,2017-08-01,,w,e0",  # 8: duplicate id
        "baddate,images/t1.jpg,60,30,top,2017-02-30,,w,e0",  # 9: bad date (and the file of t1, which is no copy)
        "escape,../outside.png,60,30,top,2017-08-01,,w,e0",  # 10
        "wide,images/wide.png,60,30,top,2017-08-01,,w,e0",  # 11: sides swapped
        "copy,images/copy.jpg,60,30,top,2017-08-01,,v,e0",  # 12: same bytes, other individual; encounter of two
        "fluke,images/t1.jpg,60,30,fluke,2017-08-02,,w,e1",  # 13
    ]
    report = check_catalog(metadata(tmp_path / ".", *rows), decode=decode, workers=workers)
    assert not report.ok
    expected = [(8, "image_id"), (9, "date"), (10, "path"), (4, "path"), (5, "path"), (6, "path")]
    assert errors(report) == [*expected, (7, "path")] if decode else errors(report) == expected
    assert warnings(report) == [(13, "viewpoint"), (11, "width, height"), (12, "path"), (None, "encounter_id")]
    text = report.render()
    assert "'copy' holds the same bytes as 't0', but is labelled v instead of w" in text
    assert "60 x 30" in text
    assert "metadata.csv, line 4" in text
    assert "1 individuals have one photograph only" in text
    again = json.loads(json.dumps(report.to_dict()))
    assert again["ok"] is False
    assert again["counts"]["warning"] == 4
    assert {problem["severity"] for problem in again["problems"]} == {"error", "warning", "info"}


def test_exif_orientation_counts_for_the_size(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images").mkdir()
    image.save(tmp_path / "images/a.jpg", exif=exif)
    report = check_catalog(metadata(tmp_path, "a,images/a.jpg,60,30,top,,,,"))
    assert warnings(report) == []
    report = check_catalog(metadata(tmp_path, "a,images/a.jpg,30,60,top,,,,"))
    assert "EXIF turns it by a quarter" in report.render()


def test_boxes_are_held_against_the_photograph(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image,id_,x,y,w,h\na.png,1,0,0,30,60\na.png,2,10,10,40,10\na.png,3,30,0,5,5\n")
    text = (tmp_path / "t.csv").read_text().replace("id_", "image_id").replace("image,image_id", "file,image_id")
    (tmp_path / "t.csv").write_text(text)
    report = check_catalog(tmp_path / "t.csv")
    assert errors(report) == [(4, "box")]
    assert warnings(report) == [(3, "box")]


@pytest.mark.parametrize("kind", ["nowhere", "empty folder", "missing columns", "header only"])
def test_what_is_no_catalogue_is_one_error(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "catalogue"
    if kind != "nowhere":
        folder.mkdir()
    if kind == "missing columns":
        (folder / "metadata.csv").write_text("image_id,where\na,a.jpg\n")
    if kind == "header only":
        (folder / "metadata.csv").write_text(HEADER + "\n")
    report = check_catalog(folder)
    assert not report.ok
    assert report.summary is None
    assert report.problems[0].severity == "error"
    assert str(folder) in report.render()


def test_empty_folders_and_scenarios_are_looked_at(tmp_path: Path) -> None:
    photo(tmp_path / "folders/w1/a.png")
    (tmp_path / "folders/w2").mkdir()
    report = check_catalog(tmp_path / "folders")
    assert report.ok
    assert [p.message for p in report.problems if p.severity == "warning"] == ["the folder is empty"]
    folder = metadata(tmp_path / "challenge", *good(tmp_path / "challenge"))
    (folder / "query_scenarios.csv").write_text("scenario_id,queries_path,database_path\ns1,q.csv,d.csv\n")
    (folder / "q.csv").write_text("query_id,query_image_id\nq1,t0\nq2,nobody\n")
    (folder / "d.csv").write_text("database_image_id\nt1\n")
    report = check_catalog(folder, scenarios=read_scenarios)
    assert report.scenarios == 1
    assert errors(report) == [(3, "query_image_id")]
    assert "scenarios are not looked through" in check_catalog(folder).render()


def test_long_lists_are_cut_in_the_text_only(tmp_path: Path) -> None:
    report = check_catalog(metadata(tmp_path, *[f"a{n},images/a{n}.jpg,1,1,top,,,," for n in range(9)]))
    assert len(errors(report)) == 9
    assert "and 6 more" in report.render(limit=3)
    assert report.render(limit=3).count("error: ") == 4


@pytest.mark.real_data
def test_the_real_catalogue_has_no_errors(real_catalog_dir: Path) -> None:
    report = check_catalog(real_catalog_dir, decode=False)
    assert report.ok
    assert report.summary is not None
    assert report.summary.photographs > 3000
