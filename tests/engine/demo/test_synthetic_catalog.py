"""The made-up catalogue: its layout, its exact geometry, and that marks decide where appearance does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from engine.demo.drawing import draw_whale, encode
from engine.demo.synthetic_catalog import (
    SyntheticSettings,
    make_catalog,
    make_whale,
    nearby,
    plan_catalog,
    random_conditions,
)
from engine.demo.synthetic_geometry import Conditions, Mark, Whale, correspondences, width_profile
from scarmatch.settings import SettingsError

SMALL = SyntheticSettings(individuals=5, photographs=20, length=260.0, lateral_share=0.2)
PLAIN = Conditions("top", 2017, 600.0, level=0.1, arch=0.02, strength=0.0, glints=0.0, noise=0.0, blur=0.3, quality=95)
SIDE = {"level": 0.0, "arch": 0.05, "roll": 0.25, "length": 900.0}


def plain(viewpoint: str, **changes: object) -> Conditions:
    """Return easy conditions for a viewpoint."""
    side = {} if viewpoint == "top" else SIDE
    return PLAIN.replace(viewpoint=viewpoint, **{**side, **changes})


def blank_whale(*marks: Mark, name: str = "whale000") -> Whale:
    return Whale(name, tuple(marks), girth=0.12, tone=0.9, ridge=1.0, is_calf=False)


def pit(along: float, across: float, number: int = 0, **changes: object) -> Mark:
    place = np.array([[along, across]], np.float32)
    mark = Mark(number, "pit", (place,), width=0.016, contrast=-90.0, first_year=2017, fading=1.0)
    return dataclasses.replace(mark, **changes)


@pytest.fixture(scope="module")
def small_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_catalog(tmp_path_factory.mktemp("made") / "catalog", SMALL)


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_layout_is_the_challenges_own(small_catalog: Path) -> None:
    text = (small_catalog / "metadata.csv").read_text().splitlines()
    assert text[0] == "image_id,path,height,width,viewpoint,date,timestamp,whale_id,encounter_id"
    table = pd.read_csv(small_catalog / "metadata.csv")
    assert len(table) == 20
    assert table["image_id"].is_unique
    assert set(table["viewpoint"]) <= {"top", "left", "right"}
    for row in table.itertuples():
        image = cv2.imread(str(small_catalog / row.path))
        assert image.shape[:2] == (row.height, row.width)
        assert row.timestamp.startswith(row.date)
        assert row.encounter_id.startswith(row.whale_id)
    assert len(list((small_catalog / "images").iterdir())) == 20


def test_the_engine_reads_it(small_catalog: Path) -> None:
    from engine.catalogue.catalog import Catalog

    catalog = Catalog.read(small_catalog)
    assert len(catalog) == 20
    assert catalog.table["individual_id"].nunique() == 5
    assert catalog.table["date"].notna().all()


def test_same_seed_same_bytes_other_seed_other_bytes(small_catalog: Path, tmp_path: Path) -> None:
    again = make_catalog(tmp_path / "again", SMALL)
    other = make_catalog(tmp_path / "other", SMALL.replace(seed=1, individuals=2, photographs=4))
    files = sorted(p.relative_to(small_catalog) for p in small_catalog.rglob("*") if p.is_file())
    assert all((small_catalog / f).read_bytes() == (again / f).read_bytes() for f in files)
    assert (other / "images/made0000.jpg").read_bytes() != (again / "images/made0000.jpg").read_bytes()


def test_a_whale_does_not_depend_on_the_others() -> None:
    few, many = SyntheticSettings(individuals=3, photographs=9), SyntheticSettings(individuals=40, photographs=400)
    a, b = make_whale(2, few), make_whale(2, many)
    assert [m.kind for m in a.marks] == [m.kind for m in b.marks]
    assert all(np.array_equal(m.points, n.points) for m, n in zip(a.marks, b.marks, strict=True))
    assert len({make_whale(i).girth for i in range(30)}) == 30


def test_plan_of_the_default_catalogue() -> None:
    settings = SyntheticSettings()
    planned = plan_catalog(settings)
    table = pd.DataFrame(
        {
            "whale": [p.whale.individual_id for p in planned],
            "encounter": [p.encounter_id for p in planned],
            "view": [p.conditions.viewpoint for p in planned],
            "year": [p.conditions.year for p in planned],
            "time": [p.timestamp for p in planned],
            "length": [p.conditions.length for p in planned],
        }
    )
    assert len(table) == settings.photographs
    assert table["whale"].nunique() == settings.individuals
    assert table.groupby("whale").size().min() >= 2
    assert (table["view"] != "top").sum() == round(0.1 * settings.photographs)
    assert set(table.loc[table["view"] != "top", "year"]) == {settings.years[0]}
    assert (table["time"].dt.year == table["year"]).all()
    spans = table.groupby("encounter")["time"].agg(lambda t: (t.max() - t.min()).total_seconds())
    assert spans.max() < 3600
    assert len(table[["encounter", "view"]].drop_duplicates()) == table["encounter"].nunique()
    assert (table.groupby("whale")["year"].nunique() >= 2).mean() > 0.8
    lengths = table[table["view"] == "top"].groupby("year")["length"].median()
    assert lengths[2019] < 0.95 * lengths[2017]
    corners = np.mean([p.conditions.corner[0] >= 0 for p in planned])
    assert 0.01 < corners < 0.15
    assert [p.image_id for p in planned] == [f"made{i:04d}" for i in range(300)]
    assert table["whale"].tolist() != sorted(table["whale"])  # the numbering does not give the whale away


@pytest.mark.parametrize(
    "options",
    [
        {"individuals": 0},
        {"individuals": 10, "photographs": 19},
        {"years": ()},
        {"years": (2019, 2018)},
        {"marks": (5, 3)},
        {"length": 10.0},
        {"whales": 3},
    ],
)
def test_impossible_settings_are_refused(options: dict) -> None:
    with pytest.raises(SettingsError):
        SyntheticSettings.from_dict(options)


# --- geometry ---------------------------------------------------------------------------------------------------------


def test_position_from_above_by_hand() -> None:
    drawing = draw_whale(blank_whale(), plain("top"))
    x0, y0 = drawing.geometry.origin
    half = 0.12 * 600 * float(width_profile(np.array([0.42]))[0])
    third = 1 / 3  # of a quarter turn: 30 degrees, whose sine is 0.5
    found = drawing.geometry.to_pixel([[0.42, 0.0], [0.42, third], [0.42, -third]])
    expected = [[x0, y0 + 252.0], [x0 + half / 2, y0 + 252.0], [x0 - half / 2, y0 + 252.0]]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_head_is_up_from_above_and_at_the_named_side_from_a_boat() -> None:
    snout, tail = [0.1, 0.0], [0.9, 0.0]
    top, left, right = (
        draw_whale(blank_whale(), plain(view)).geometry.to_pixel([snout, tail]) for view in ("top", "left", "right")
    )
    assert top[0, 1] < top[1, 1]
    assert left[0, 0] < left[1, 0]
    assert right[0, 0] > right[1, 0]


@pytest.mark.parametrize("viewpoint", ["top", "left", "right"])
def test_body_to_pixel_and_back(viewpoint: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(10):
        conditions = random_conditions(rng, viewpoint, 2018)
        drawing = draw_whale(blank_whale(), conditions.replace(corner=(-1, 0.0)))
        body = np.stack([rng.uniform(0.1, 0.9, 300), rng.uniform(-1.1, 1.1, 300)], 1)
        body = body[drawing.visible(body)]
        assert len(body) > 40
        back = drawing.geometry.to_body(drawing.geometry.to_pixel(body))
        np.testing.assert_allclose(back, body, atol=6e-3)
    assert np.isnan(drawing.geometry.to_body([[-5000.0, 10.0]])).all()


@pytest.mark.parametrize("viewpoint", ["top", "left", "right"])
@pytest.mark.parametrize("along", [0.35, 0.6])
def test_the_mark_is_painted_where_the_geometry_says(viewpoint: str, along: float) -> None:
    across = {"top": 0.3, "left": -0.45, "right": 0.45}[viewpoint]
    conditions = plain(viewpoint, bend=0.04 if viewpoint == "top" else 0.0, slope=0.03)
    marked = draw_whale(blank_whale(pit(along, across)), conditions)
    bare = draw_whale(blank_whale(), conditions)
    change = bare.rgb.astype(float).sum(2) - marked.rgb.astype(float).sum(2)
    change[change < 40] = 0
    assert change.sum() > 0
    y, x = np.indices(change.shape)
    centre = [(x * change).sum() / change.sum(), (y * change).sum() / change.sum()]
    np.testing.assert_allclose(marked.mark_pixels, [centre], atol=1.5)


def test_each_flank_shows_its_own_marks() -> None:
    whale = blank_whale(pit(0.5, -0.4, 0), pit(0.5, 0.4, 1))
    assert draw_whale(whale, plain("left")).keys[:, 0].tolist() == [0]
    assert draw_whale(whale, plain("right")).keys[:, 0].tolist() == [1]
    assert draw_whale(whale, plain("top")).keys[:, 0].tolist() == [0, 1]


def test_what_lies_under_water_is_neither_body_nor_visible() -> None:
    whale = blank_whale(pit(0.95, 0.0))
    drawing = draw_whale(whale, plain("top", level=0.4, arch=0.08))
    assert len(drawing.keys) == 0
    assert not drawing.visible([[0.95, 0.0]])[0]
    assert drawing.visible([[0.45, 0.0]])[0]
    assert 0.2 < drawing.body.mean() < 0.9


def test_marks_appear_and_fade() -> None:
    mark = pit(0.5, 0.2, first_year=2018, fading=0.5, contrast=-80.0)
    assert [mark.contrast_in(y) for y in (2017, 2018, 2019, 2020)] == [0.0, -80.0, -40.0, -20.0]
    whale = blank_whale(mark)
    assert len(draw_whale(whale, plain("top", year=2017)).keys) == 0
    assert len(draw_whale(whale, plain("top", year=2018)).keys) == 1


def test_correspondences_join_the_same_marks() -> None:
    whale = make_whale(3)
    rng = np.random.default_rng(0)
    first = random_conditions(rng, "top", 2017).replace(roll=-0.2, corner=(-1, 0.0))
    a, b = draw_whale(whale, first), draw_whale(whale, nearby(rng, first.replace(roll=0.2, length=400.0)))
    xy0, xy1, keys = correspondences(a, b)
    assert len(xy0) == len(xy1) == len(keys) >= 10
    assert len({tuple(k) for k in keys.tolist()}) == len(keys)
    moved = b.geometry.to_pixel(a.geometry.to_body(xy0))
    near_edge = np.abs(np.array([whale.marks[m].points[p][1] for m, p in keys])) > 0.8  # steep skin: ill-conditioned
    np.testing.assert_allclose(moved[~near_edge], xy1[~near_edge], atol=0.75)
    assert set(map(tuple, keys.tolist())) == set(map(tuple, a.keys.tolist())) & set(map(tuple, b.keys.tolist()))


def test_lateral_and_top_share_the_marks_of_that_flank() -> None:
    whale = make_whale(3)
    for view, sign in (("left", -1), ("right", 1)):
        side, top = draw_whale(whale, plain(view)), draw_whale(whale, plain("top"))
        xy0, _, keys = correspondences(side, top)
        across = np.array([whale.marks[m].points[p][1] for m, p in keys])
        assert len(xy0) >= 3
        assert (sign * across > -0.3).all()


def test_correspondences_refuse_two_whales() -> None:
    a = draw_whale(blank_whale(), plain("top"))
    b = draw_whale(blank_whale(name="whale001"), plain("top"))
    with pytest.raises(ValueError, match="whale000 and whale001"):
        correspondences(a, b)
    with pytest.raises(ValueError, match="below"):
        draw_whale(blank_whale(), plain("top").replace(viewpoint="below"))


# --- looks ------------------------------------------------------------------------------------------------------------


def test_the_lit_flank_follows_the_sun() -> None:
    def flanks(azimuth: float) -> tuple[float, float]:
        drawing = draw_whale(blank_whale(), plain("top", strength=0.9, sun=(azimuth, 0.6)))
        columns = drawing.geometry.to_pixel([[0.6, -0.4], [0.6, 0.4]]).round().astype(int)
        grey = drawing.rgb.mean(2)
        return tuple(grey[y - 3 : y + 4, x - 3 : x + 4].mean() for x, y in columns)  # type: ignore[return-value]

    left, right = flanks(1.3)
    assert right > left + 30
    left, right = flanks(-1.3)
    assert left > right + 30


def test_white_corner_is_pure_white_and_no_body() -> None:
    drawing = draw_whale(blank_whale(), plain("top", corner=(3, 0.8)))
    white = (drawing.rgb == 255).all(2)
    assert white[-1, -1]
    assert not white[0].any()
    assert not (drawing.body & white).any()
    assert not (draw_whale(blank_whale(), plain("top")).rgb == 255).all(2).any()


def test_glints_are_saturated_streaks_on_skin_and_water() -> None:
    sunny = plain("top", strength=0.9, sun=(0.6, 0.7))
    calm, bright = (draw_whale(blank_whale(), sunny.replace(glints=g)) for g in (0.0, 1.0))
    added = (bright.rgb.min(2) >= 245) & (calm.rgb.min(2) < 245)
    assert 0.001 < added.mean() < 0.15
    assert (added & bright.body).any()
    assert (added & ~bright.body).any()


def test_body_is_paler_than_water_and_sizes_are_those_of_real_crops() -> None:
    planned = [p for p in plan_catalog() if p.conditions.viewpoint == "top" and not p.whale.is_calf][:24]
    drawings = [draw_whale(p.whale, p.conditions) for p in planned]
    paler = [d.rgb[d.body].mean() - d.rgb[~d.body & ~(d.rgb == 255).all(2)].mean() for d in drawings]
    assert min(paler) > 20
    width, height = np.median([d.size for d in drawings], axis=0)
    assert 110 < width < 200
    assert 330 < height < 550


def test_jpeg_keeps_the_picture() -> None:
    drawing = draw_whale(make_whale(0), plain("top"))
    back = cv2.cvtColor(cv2.imdecode(np.frombuffer(encode(drawing), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(back.astype(int) - drawing.rgb.astype(int)).mean() < 3


def test_marks_decide_where_appearance_does_not() -> None:
    """Skin laid flat by the known geometry names the whale; the photograph as a whole does not."""
    settings = SyntheticSettings(individuals=6, photographs=30, lateral_share=0.0, calf_share=0.0, length=400.0)
    planned = plan_catalog(settings)
    drawings = [draw_whale(p.whale, p.conditions) for p in planned]
    names = np.array([p.whale.individual_id for p in planned])
    encounters = np.array([p.encounter_id for p in planned])
    matches = (names[:, None] == names) & (encounters[:, None] != encounters)
    grid = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 240), np.linspace(-0.7, 0.7, 120), indexing="ij"), -1)
    off_ridge = np.abs(grid[..., 1]) > 0.1
    skins, looks = [], []
    for d in drawings:
        grey = d.rgb.astype(np.float32).mean(2)
        looks.append(cv2.resize(grey, (16, 48), interpolation=cv2.INTER_AREA).ravel())
        xy = d.geometry.to_pixel(grid.reshape(-1, 2)).reshape(240, 120, 2)
        flat = cv2.remap(grey, xy[..., 0], xy[..., 1], cv2.INTER_LINEAR)
        detail = cv2.GaussianBlur(flat, (0, 0), 1.5) - cv2.GaussianBlur(flat, (0, 0), 5.0)
        seen = cv2.erode(d.visible(grid.reshape(-1, 2)).reshape(240, 120).astype(np.uint8), np.ones((15, 15)))
        skins.append((np.clip(detail, -10, 10) * seen * off_ridge).ravel())

    def top_1(descriptors: list[np.ndarray]) -> float:
        x = np.array(descriptors) - np.mean(descriptors, axis=0)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        similarity = np.where(encounters[:, None] == encounters, -np.inf, x @ x.T)
        best = names[similarity.argmax(1)] == names
        return float(best[matches.any(1)].mean())

    assert top_1(looks) < 0.5
    assert top_1(skins) > 0.85
