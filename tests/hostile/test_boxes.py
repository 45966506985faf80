"""Boxes in the wrong unit, in turned photographs, several in one frame: understood, or said."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from engine.catalogue.boxes import are_positions_on_earth, from_fractions, parse_box
from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
from engine.catalogue.check import check_catalog
from engine.catalogue.formats import read_catalog
from engine.catalogue.further_boxes import read_boxes
from engine.catalogue.index import CatalogIndex, compare_stated_sizes
from engine.catalogue.problems import Problems
from engine.catalogue.queries import find_photograph, query_catalog
from features.describe import content_key
from features.records import Description, PhotoRef


def photo(path: Path, size: tuple[int, int] = (400, 300), orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size, (len(path.name) * 7 % 256, 90, 120)).save(path, exif=exif)
    return path


def coco(folder: Path, *boxes: list[float], size: tuple[int, int] = (400, 300)) -> Path:
    image = {"id": 1, "file_name": "f.jpg", "width": size[0], "height": size[1]}
    annotations = [
        {"id": number, "image_id": 1, "bbox": box, "name": f"w{number}"} for number, box in enumerate(boxes, start=1)
    ]
    (folder / "x.json").write_text(json.dumps({"images": [image], "annotations": annotations}))
    return folder / "x.json"


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cells", "one cell", "coco", "further boxes"])
def test_fractions_are_no_pixels(tmp_path: Path, kind: str) -> None:
    photo(tmp_path / "f.jpg")
    with pytest.raises(CatalogError, match=r"fractions of the picture.*multiply"):
        if kind == "coco":
            Catalog.read(coco(tmp_path, [0.1, 0.05, 0.8, 0.9]))
        elif kind == "further boxes":
            (tmp_path / "b.csv").write_text("image_id,x,y,width,height\nf,0.1,0.05,0.8,0.9\n")
            read_boxes(tmp_path / "b.csv", Catalog.from_photos([tmp_path / "f.jpg"]))
        else:
            rows = "f.jpg,0.1,0.05,0.8,0.9" if kind == "cells" else 'f.jpg,"[0.1, 0.05, 0.8, 0.9]"'
            (tmp_path / "t.csv").write_text(f"image,{'x,y,w,h' if kind == 'cells' else 'bbox'}\n{rows}\n")
            Catalog.read(tmp_path / "t.csv")


@pytest.mark.parametrize("box", [[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [-0.01, 0, 1, 0.2]])
def test_the_whole_picture_and_its_edges_are_fractions_too(box: list[float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        parse_box(box, (400, 300))


def megadetector(folder: Path, **changes: object) -> Path:
    detections = [
        {"category": "1", "conf": 0.9, "bbox": [0.1, 0.05, 0.5, 0.9]},
        {"category": "2", "conf": 0.9, "bbox": [0.0, 0.0, 0.5, 0.5]},
        {"category": "1", "conf": 0.1, "bbox": [0.0, 0.0, 0.5, 0.5]},
        {"category": "1", "conf": 0.3, "bbox": [0.6, 0.5, 0.4, 0.5]},
    ]
    images = [
        {"file": "images\\f.jpg", "detections": detections, **changes},
        {"file": "images\\g.jpg", "detections": detections[:1]},
        {"file": "images\\empty.jpg", "detections": []},
    ]
    categories = {"1": "animal", "2": "person", "3": "vehicle"}
    file = folder / "detections.json"
    file.write_text(json.dumps({"images": images, "detection_categories": categories, "info": {}}))
    return file


def test_a_detectors_own_file_is_read_as_fractions(tmp_path: Path) -> None:
    photo(tmp_path / "images/f.jpg", orientation=6)
    photo(tmp_path / "images/g.jpg")
    file = megadetector(tmp_path)
    for path in (file, tmp_path):
        ledger = Problems(strict=False)
        reading = read_catalog(path, problems=ledger)
        assert reading.source == "megadetector"
        boxes = dict(zip(reading.table["image_id"], reading.table["box"], strict=True))
        assert boxes == {"f-b1": (30, 20, 150, 360), "f-b2": (180, 200, 120, 200), "g": (40, 15, 200, 270)}
        assert [problem.severity for problem in ledger] == ["info"]
        assert "1 photographs without an animal" in ledger.items[0].message


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"detections": [{"category": "1", "conf": 0.9, "bbox": [40, 15, 200, 270]}]}, "as fractions"),
        ({"detections": [{"category": "1", "conf": "high", "bbox": [0, 0, 1, 1]}]}, "no number conf"),
        ({"file": 3}, "name no file"),
        ({"file": "images/gone.jpg"}, "not found"),
        ({"file": "../../gone.jpg"}, "leads out"),
    ],
)
def test_a_faulty_detectors_file_is_one_line(tmp_path: Path, changes: dict[str, object], word: str) -> None:
    photo(tmp_path / "images/f.jpg")
    photo(tmp_path / "images/g.jpg")
    with pytest.raises(CatalogError, match=word):
        Catalog.read(megadetector(tmp_path, **changes))


# --- columns ---------------------------------------------------------------------------------------------------------


def test_x_y_width_and_height_are_a_box(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,individual,x,y,width,height\nf.jpg,w1,10,20,30,40\ng.jpg,w2,,,,\n")
    ledger = Problems(strict=False)
    table = read_catalog(tmp_path / "t.csv", problems=ledger).table
    assert table["box"].tolist() == [(10, 20, 30, 40), None]
    assert [problem.message for problem in ledger] == ["x, y, width, height are read as the animal's box"]


def test_longitude_and_latitude_are_no_box(tmp_path: Path) -> None:
    header = "image,individual,x,y,width,height"
    (tmp_path / "t.csv").write_text(f"{header}\nf.jpg,w1,-151.2,60.1,400,300\ng.jpg,w2,-150.9,61,400,300\n")
    ledger = Problems(strict=False)
    table = read_catalog(tmp_path / "t.csv", problems=ledger).table
    assert table["box"].tolist() == [None, None]
    assert table["width"].tolist() == [400, 400]
    assert "longitude or latitude" in ledger.items[0].message


def test_a_corner_without_a_size_is_no_box(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,x,y\nf.jpg,10,20\n")
    ledger = Problems(strict=False)
    assert read_catalog(tmp_path / "t.csv", problems=ledger).table["box"].tolist() == [None]
    assert "a corner without a size is no box" in ledger.items[0].message


def test_two_corners_are_a_box(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,xmin,ymin,xmax,ymax\nf.jpg,10,20,40,60\ng.jpg,,,,\n")
    assert Catalog.read(tmp_path / "t.csv").table["box"].tolist() == [(10, 20, 30, 40), None]
    (tmp_path / "t.csv").write_text("image,xmin,ymin,xmax,ymax\nf.jpg,10,20,,60\n")
    with pytest.raises(CatalogError, match="is not a box"):
        Catalog.read(tmp_path / "t.csv")


# --- several animals in one frame ------------------------------------------------------------------------------------

BOXES = ([0, 0, 100, 100], [100, 100, 100, 100], [200, 0, 150, 150])


@pytest.mark.parametrize("kind", ["coco", "csv"])
def test_every_animal_of_a_frame_is_a_question_of_its_own(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "f.jpg")
    photo(tmp_path / "other.jpg")
    if kind == "coco":
        catalog, ids = Catalog.read(coco(tmp_path, *BOXES)), ["f-a1", "f-a2", "f-a3"]
    else:
        rows = "".join(f"f.jpg,w{number},{x},{y},{w},{h}\n" for number, (x, y, w, h) in enumerate(BOXES))
        (tmp_path / "t.csv").write_text(f"image,individual,x,y,w,h\n{rows}other.jpg,w9,,,,\n")
        catalog, ids = Catalog.read(tmp_path / "t.csv"), ["f-b1", "f-b2", "f-b3"]
    queries = query_catalog([tmp_path / "f.jpg"], catalog)
    assert queries.ids == ids
    assert queries.table["box"].tolist() == [tuple(box) for box in BOXES]
    assert all(name in caplog.text for name in ids)
    assert query_catalog([ids[1]], catalog).ids == [ids[1]]
    assert find_photograph(ids[1], catalog) == ids[1]
    with pytest.raises(CatalogError, match=f"shows 3 animals; choose one by its id: {', '.join(ids)}"):
        find_photograph(tmp_path / "f.jpg", catalog)


def described(catalog: Catalog) -> CatalogIndex:
    """Return an index that knows the photographs' content only."""
    items = []
    for row in catalog.table.to_dict("records"):
        ref = PhotoRef(row["image_id"], Path(row["path"]), row["viewpoint"], row["box"])
        vector = np.zeros(1, np.float32)
        items.append(Description.__new__(Description))
        object.__setattr__(items[-1], "key", content_key(ref))
        object.__setattr__(items[-1], "vector", vector)
    return CatalogIndex(catalog, tuple(items))


def test_neither_a_frame_nor_a_copy_of_it_is_a_candidate_for_its_boxes(tmp_path: Path) -> None:
    photo(tmp_path / "f.jpg")
    photo(tmp_path / "other-name.jpg", (300, 300))
    shutil.copy(tmp_path / "f.jpg", tmp_path / "copy.jpg")
    rows = "f.jpg,1,0,0,100,100\nf.jpg,2,100,100,100,100\nf.jpg,3,,,,\ncopy.jpg,4,0,0,50,50\nother-name.jpg,5,,,,\n"
    (tmp_path / "t.csv").write_text(f"file,image_id,x,y,w,h\n{rows}")
    catalog = Catalog.read(tmp_path / "t.csv")
    index = described(catalog)
    for row in range(3):
        kept = CandidateFilter().mask_for(
            catalog.table.iloc[row], catalog, same_content=index.contents == index.contents[row]
        )
        assert kept.tolist() == [False, False, False, False, True]


# --- turned photographs ----------------------------------------------------------------------------------------------


def test_boxes_of_an_unturned_photograph_are_said_wherever_it_is_described(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photo(tmp_path / "f.jpg", (400, 300), orientation=6)
    catalog = Catalog.read(coco(tmp_path, [10, 20, 200, 100]))
    compare_stated_sizes(catalog)
    assert "says 400 x 300 pixels, the file has 300 x 400; EXIF turns it by a quarter, so the box" in caplog.text
    compare_stated_sizes(query_catalog(["f"], catalog))
    assert caplog.text.count("says 400 x 300") == 2
    assert "EXIF turns it" in check_catalog(tmp_path / "x.json").render()


def test_right_sizes_are_not_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo(tmp_path / "f.jpg", (400, 300), orientation=6)
    compare_stated_sizes(Catalog.read(coco(tmp_path, [10, 20, 200, 100], size=(300, 400))))
    assert caplog.text == ""


def test_a_box_beyond_the_edge_is_said_without_a_stated_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photo(tmp_path / "f.jpg", (400, 300))
    (tmp_path / "t.csv").write_text("image,x,y,w,h\nf.jpg,350,10,100,100\n")
    compare_stated_sizes(Catalog.read(tmp_path / "t.csv"))
    assert "reaches beyond the photograph of 400 x 300" in caplog.text


# --- any numbers -----------------------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.floats(), st.integers(-(10**7), 10**7), st.text(max_size=6), st.none(), st.booleans())
SIZES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@given(st.lists(NUMBERS, max_size=6), st.one_of(st.none(), SIZES))
def test_any_values_are_a_box_in_the_photograph_or_a_value_error(
    values: list[object], size: tuple[int, int] | None
) -> None:
    try:
        x, y, width, height = parse_box(values, size)
    except ValueError:
        return
    assert min(x, y) >= 0 and min(width, height) >= 1
    assert size is None or (x + width <= size[0] and y + height <= size[1])


@given(st.integers(0, 900), st.integers(0, 900), st.integers(2, 900), st.integers(2, 900))
def test_whole_pixels_stay_as_they_are(x: int, y: int, width: int, height: int) -> None:
    assert parse_box([x, str(y), float(width), f" {height} "], None) == (x, y, width, height)


@given(st.tuples(*[st.floats(0, 1)] * 4), SIZES)
def test_fractions_become_pixels_that_cover_them(values: tuple[float, ...], size: tuple[int, int]) -> None:
    try:
        x, y, width, height = from_fractions(values, size)
    except ValueError:
        return
    assert 0 <= x <= values[0] * size[0] and 0 <= y <= values[1] * size[1]
    assert x + width == min(size[0], math.ceil((values[0] + values[2]) * size[0]))
    assert y + height == min(size[1], math.ceil((values[1] + values[3]) * size[1]))


@given(st.lists(st.integers(0, 4000).map(str), min_size=1), st.lists(st.integers(0, 4000).map(str), min_size=1))
def test_whole_pixels_are_no_positions_on_the_earth(xs: list[str], ys: list[str]) -> None:
    assert not are_positions_on_earth(xs, ys)
