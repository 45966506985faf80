"""Pictures of a pair: what is drawn, and that it is drawn where the photographs show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from engine.records import Correspondences, Verification
from engine.report import drawing
from engine.report.contact_sheet import draw_contact_sheet
from engine.report.image_files import encode_jpeg, save_jpeg, save_png
from engine.report.pair_layers import LAYERS, LayerError, inlier_order
from engine.report.pair_layout import pair_layout
from engine.report.pair_picture import _legend, blink_frames, draw_details, draw_pair
from engine.search.pair_evidence import PairEvidence, SkinPlaces, caption
from features.records import Frame, LocalFeatures, Photo, Regions

TURNS = {"top": 0, "left": 3, "right": 1}
RED, BLUE = (230, 10, 10), (10, 10, 230)


def photo_of(rgb: npt.NDArray[np.uint8]) -> Photo:
    return Photo(rgb, np.ones(rgb.shape[:2], bool), "0" * 64)


def features_of(size: tuple[int, int], turns: int, xy: npt.ArrayLike) -> LocalFeatures:
    points = np.asarray(xy, np.float32).reshape(-1, 2)
    n = len(points)
    ones = np.ones(n, np.float32)
    return LocalFeatures(points, ones, np.zeros((n, 4), np.float16), ones * 0.2, ones, Frame(size, turns), "sift")


def pair_of(
    photos: tuple[Photo, Photo],
    points: tuple[npt.ArrayLike, npt.ArrayLike],
    turns: tuple[int, int] = (0, 0),
    confidence: npt.ArrayLike | None = None,
    model: npt.NDArray[np.float64] | None = None,
    ok: bool = True,
) -> PairEvidence:
    views = [features_of(photo.size, turn, xy) for photo, turn, xy in zip(photos, turns, points, strict=True)]
    n = len(views[0])
    indices = np.stack([np.arange(n)] * 2, axis=1).astype(np.int32)
    sure = np.ones(n, np.float32) if confidence is None else np.asarray(confidence, np.float32)
    verification = Verification.none(n)
    if ok:
        matrix = np.eye(3) if model is None else model
        verification = replace(
            verification, ok=True, kind="affine", model=matrix, inliers=np.ones(n, bool), n_inliers=n, inlier_ratio=1.0
        )
    return PairEvidence(*photos, *views, None, None, Correspondences(indices, sure, 0.5), verification)


def spotted(size: tuple[int, int], spot: tuple[int, int], colour: tuple[int, int, int]) -> Photo:
    """Grey photograph with one coloured square whose middle is the spot (x, y)."""
    rgb = np.full((size[1], size[0], 3), 90, np.uint8)
    x, y = spot
    rgb[y - 4 : y + 5, x - 4 : x + 5] = colour
    return photo_of(rgb)


def centre_of(picture: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    near = np.abs(picture.astype(int) - colour).sum(axis=2) < 60
    rows, columns = np.nonzero(near)
    assert len(rows), f"the spot {colour} is not in the picture"
    return np.array([columns.mean(), rows.mean()])


def changed(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return (np.abs(a.astype(int) - b.astype(int)).sum(axis=2)) > 12


def test_frames_show_both_photographs_as_tall_as_asked() -> None:
    evidence = pair_of(
        (photo_of(np.zeros((300, 100, 3), np.uint8)), photo_of(np.zeros((90, 260, 3), np.uint8))), ([], [])
    )
    evidence = replace(evidence, features1=features_of((260, 90), 3, []))
    for height in (120, 480):
        layout = pair_layout(evidence, height)
        assert [panel.size[1] for panel in layout.panels] == [height, height]
        assert layout.panels[0].size[0] == pytest.approx(height / 3, abs=1)
        assert layout.panels[1].size[0] == pytest.approx(height * 90 / 260, abs=1)
        picture = draw_pair(evidence, height=height)
        assert picture.dtype == np.uint8
        assert picture.shape == (layout.size[1], layout.size[0], 3)


@pytest.mark.parametrize("view0", ["top", "left", "right"])
@pytest.mark.parametrize("view1", ["top", "left", "right"])
def test_inlier_line_joins_what_the_keypoints_lie_on(view0: str, view1: str) -> None:
    shape0 = (120, 330) if view0 == "top" else (330, 120)
    shape1 = (150, 340) if view1 == "top" else (340, 150)
    spot0, spot1 = (70, 60), (45, 95)
    photos = (spotted(shape0, spot0, RED), spotted(shape1, spot1, BLUE))
    evidence = pair_of(photos, ([spot0], [spot1]), (TURNS[view0], TURNS[view1]))
    bare = draw_pair(evidence, ("photographs",), 360)
    drawn = draw_pair(evidence, ("photographs", "inliers"), 360)
    start, end = centre_of(bare, RED), centre_of(bare, BLUE)
    touched = changed(bare, drawn)
    for share in np.linspace(0.02, 0.98, 60):
        x, y = np.round(start + share * (end - start)).astype(int)
        assert touched[y - 1 : y + 2, x - 1 : x + 2].any(), f"no line at {share:.2f} of the way"
    middle = np.round((start + end) / 2).astype(int)
    assert not touched[middle[1] - 40 : middle[1] - 8, middle[0]].any()
    assert not touched[middle[1] + 8 : middle[1] + 40, middle[0]].any()


def test_colour_follows_confidence_in_one_order_of_lightness() -> None:
    lightness = drawing.ramp(np.linspace(0, 1, 32)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > 0).all()
    flat = photo_of(np.full((300, 100, 3), 90, np.uint8))
    evidence = pair_of((flat, flat), ([(50, 60), (50, 240)],) * 2, confidence=[1.0, 0.0])
    picture = draw_pair(evidence, height=300)
    layout = pair_layout(evidence, 300)
    between = (layout.cells[0][0] + layout.cells[0][2] + layout.cells[1][0]) // 2
    for y, value in ((60, 1.0), (240, 0.0)):
        column = picture[layout.header + y - 3 : layout.header + y + 4, between].astype(int)
        expected = drawing.ramp([value])[0].astype(int)
        assert np.abs(column - expected).sum(axis=1).min() < 60


def test_every_layer_changes_the_picture_and_only_the_layers_asked_for_are_drawn() -> None:
    rng = np.random.default_rng(4)
    photo = photo_of(rng.integers(60, 120, (300, 110, 3), dtype=np.uint8))
    points = rng.uniform((20, 20), (90, 280), (12, 2))
    body, marks = np.zeros((300, 110), np.float32), np.zeros((300, 110), np.float32)
    body[30:270, 20:90] = 1.0
    marks[100:140, 40:60] = 1.0
    regions = Regions(body, marks, 0.5, 1.0)
    heat = np.tile(np.linspace(0, 1, 300, dtype=np.float32)[:, None], (1, 110))
    spots = points.astype(np.float32)
    skin = SkinPlaces(spots, spots[::-1], np.linspace(1, 0.2, 12, dtype=np.float32))
    evidence = replace(
        pair_of((photo, photo), (points, points[::-1])), regions0=regions, regions1=regions, heat0=heat, heat1=heat
    )
    evidence = replace(evidence, skin=skin)
    bare = draw_pair(evidence, ("photographs",))
    assert np.array_equal(bare, draw_pair(evidence, ()))
    layout = pair_layout(evidence)
    for layer in set(LAYERS) - {"photographs", "warp"}:
        drawn = draw_pair(evidence, (layer,))
        assert drawn.shape == bare.shape
        for panel in layout.panels:
            assert changed(drawn, bare)[panel.window].any(), layer
    rows, columns = layout.panels[0].window
    tinted = changed(draw_pair(evidence, ("marks",)), bare)[rows, columns]
    scale = layout.panels[0].scale[1]
    assert tinted[round(110 * scale) : round(130 * scale), round(45 * scale) : round(55 * scale)].all()
    assert not tinted[: round(90 * scale)].any()
    assert draw_pair(evidence, ("warp",)).shape[1] > bare.shape[1]


def test_places_of_alike_skin_lie_on_both_photographs_in_one_colour_each() -> None:
    photo = photo_of(np.full((300, 110, 3), 60, np.uint8))
    xy0, xy1 = np.array([[30, 60], [70, 200]], np.float32), np.array([[40, 90], [80, 240]], np.float32)
    evidence = replace(pair_of((photo, photo), ([], [])), skin=SkinPlaces(xy0, xy1, np.array([1.0, 0.1], np.float32)))
    drawn, bare = draw_pair(evidence, ("skin",), 300), draw_pair(evidence, (), 300)
    for panel, places in zip(pair_layout(evidence, 300).panels, (xy0, xy1), strict=True):
        edges = np.rint(panel.to_picture(places)).astype(int) - [0, 3]
        for (x, y), sure in zip(edges, (1.0, 0.1), strict=True):
            np.testing.assert_allclose(drawn[y, x].astype(int), drawing.ramp([sure])[0].astype(int), atol=12)
    assert changed(drawn, bare).any()
    nobody = replace(evidence, skin=None)
    assert not changed(draw_pair(nobody, ("skin",), 300), bare)[: pair_layout(nobody, 300).header + 300].any()


def test_heat_is_brightest_where_it_is_hottest_and_absent_where_it_was_not_computed() -> None:
    photo = photo_of(np.full((90, 300, 3), 60, np.uint8))
    heat = np.zeros((90, 300), np.float32)
    heat[30:60, 200:260] = 1.0  # of a lateral whose head points to the left: two thirds down in the upright picture
    evidence = replace(pair_of((photo, photo), ([], []), (3, 3)), heat0=heat)
    drawn, bare = draw_pair(evidence, ("heat",), 300), draw_pair(evidence, (), 300)
    first, second = pair_layout(evidence, 300).panels
    rows = np.flatnonzero(changed(drawn, bare)[first.window].any(axis=1))
    assert (rows.min(), rows.max()) == (pytest.approx(200, abs=3), pytest.approx(260, abs=3))
    hot = drawn[first.window][230, first.size[0] // 2].astype(int)
    assert hot[0] > 180 and hot[2] < hot[0]
    assert np.array_equal(drawn[second.window], bare[second.window])
    with pytest.raises(ValueError, match="heat1"):
        replace(evidence, heat1=heat.T)


@pytest.mark.parametrize("lying", [False, True])
def test_body_axis_is_the_middle_and_its_bars_reach_from_side_to_side(lying: bool) -> None:
    rows = np.arange(20, 180)
    mask = np.zeros((200, 100), np.float32)
    for row in rows:
        middle = round(50 + 0.1 * (row - 100))
        mask[row, middle - 20 : middle + 21] = 1.0
    axis = drawing.body_axis(mask.T if lying else mask)
    line, bars = (axis.line[:, ::-1], axis.bars[:, [1, 0, 3, 2]]) if lying else (axis.line, axis.bars)
    assert line[0, 1] == 20 and line[-1, 1] == 179
    inner = line[3:-3]
    np.testing.assert_allclose(inner[:, 0], 50 + 0.1 * (inner[:, 1] - 100), atol=1.0)
    np.testing.assert_allclose(bars[:, 1], [60, 100, 140], atol=1)
    np.testing.assert_allclose(bars[:, 2] - bars[:, 0], 40, atol=2)
    nothing = drawing.body_axis(np.zeros((50, 30), np.float32))
    assert nothing.line.shape == (0, 2) and nothing.bars.shape == (0, 4)


def test_half_and_half_is_the_mean_where_the_model_reaches() -> None:
    query, candidate = photo_of(np.full((300, 100, 3), 40, np.uint8)), photo_of(np.full((300, 100, 3), 200, np.uint8))
    shift = np.array([[1.0, 0, 0], [0, 1, 150], [0, 0, 1]])  # the query's upper half lies on the candidate's lower one
    evidence = pair_of((query, candidate), ([], []), model=shift)
    both = pair_layout(evidence, 300, warp=True).panels[3]
    picture = draw_pair(evidence, ("warp",), 300)[both.window]
    assert (picture[5:140] == 120).all()
    assert (picture[160:] == 40).all()
    frame = blink_frames(evidence, 300)[1]
    assert (frame[5:140] == 200).all()
    assert (frame[160:] == 13).all(), "the query, darkened, where the candidate shows nothing"


def test_unknown_layer_is_an_error_that_names_the_known_ones() -> None:
    flat = photo_of(np.zeros((60, 30, 3), np.uint8))
    with pytest.raises(LayerError, match=r"'inlier'.*inliers"):
        draw_pair(pair_of((flat, flat), ([], [])), ("inlier",))
    with pytest.raises(ValueError, match="32"):
        draw_pair(pair_of((flat, flat), ([], [])), height=10)


@pytest.mark.parametrize("n", [0, 1, 3, 200])
@pytest.mark.parametrize("ok", [True, False])
def test_any_number_of_matches_with_or_without_model(n: int, ok: bool) -> None:
    rng = np.random.default_rng(n)
    photo = photo_of(rng.integers(0, 255, (180, 60, 3), dtype=np.uint8))
    points = rng.uniform((0, 0), (59, 179), (n, 2))
    evidence = pair_of((photo, photo), (points, points), ok=ok)
    picture = draw_pair(evidence, LAYERS, 200)
    assert picture.shape[2] == 3
    assert len(inlier_order(evidence)) == (n if ok else 0)
    if not ok:
        same = draw_pair(evidence, ("photographs",), 200)
        layout = pair_layout(evidence, 200)
        for panel in layout.panels:
            assert np.array_equal(same[panel.window], draw_pair(evidence, ("inliers",), 200)[panel.window])
    assert draw_details(evidence).dtype == np.uint8


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 400), (400, 1), (3, 2)])
def test_tiny_and_extreme_photographs(width: int, height: int) -> None:
    photo = photo_of(np.full((height, width, 3), 200, np.uint8))
    regions = Regions(np.ones((height, width), np.float32), np.ones((height, width), np.float32), 1.0, 0.0)
    for turns in range(4):
        evidence = pair_of((photo, photo), ([(0, 0)], [(0, 0)]), (turns, 0))
        evidence = replace(evidence, regions0=regions, regions1=regions)
        assert draw_pair(evidence, LAYERS, 64).size
        assert draw_details(evidence).size


@pytest.mark.parametrize("turns1", [0, 1, 3])
def test_warp_lays_the_candidate_on_the_query(turns1: int) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (15, 6, 3), dtype=np.uint8)
    scene = drawing.resize(coarse, (240, 600))
    query = scene[100:400, 60:160]
    candidate = scene[80:420, 50:180]  # canonical: its pixel (x + 10, y + 20) is the query's (x, y)
    original = np.ascontiguousarray(np.rot90(candidate, -turns1))
    shift = np.array([[1.0, 0, 10], [0, 1, 20], [0, 0, 1]])
    evidence = pair_of((photo_of(query), photo_of(original)), ([], []), (0, turns1), model=shift)
    bare, warped = blink_frames(evidence, 300)
    assert bare.shape == warped.shape == (300, 100, 3)
    assert np.abs(bare.astype(int) - warped.astype(int)).mean() < 3
    picture = draw_pair(evidence, ("warp",), 300)
    panel = pair_layout(evidence, 300, warp=True).panels[2]
    assert np.abs(picture[panel.window].astype(int) - bare.astype(int)).mean() < 3
    none = replace(evidence, verification=Verification.none(0))
    assert blink_frames(none, 300)[1].shape == bare.shape
    broken = replace(evidence, verification=replace(evidence.verification, model=np.full((3, 3), np.nan)))
    assert np.array_equal(blink_frames(broken, 300)[1], blink_frames(none, 300)[1])


def test_inliers_are_numbered_from_the_surest() -> None:
    flat = photo_of(np.zeros((60, 30, 3), np.uint8))
    points = [(5, 5), (9, 20), (12, 40)]
    evidence = pair_of((flat, flat), (points, points), confidence=[0.9, 0.5, 0.7])
    chosen = replace(evidence.verification, inliers=np.array([False, True, True]), n_inliers=2)
    assert inlier_order(replace(evidence, verification=chosen)).tolist() == [2, 1]


def test_numbers_do_not_cover_each_other() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((60, 20), (180, 460), (25, 2)).astype(np.float32)
    places = [p for p in drawing.place_numbers(points, -1, 11, (0, 0, 240, 480)) if p is not None]
    assert len(places) >= 20
    for i, a in enumerate(places):
        for b in places[:i]:
            assert abs(a[0] - b[0]) > 6 or abs(a[1] - b[1]) > 8


def test_records_of_different_pairs_are_refused() -> None:
    small, large = photo_of(np.zeros((40, 20, 3), np.uint8)), photo_of(np.zeros((50, 20, 3), np.uint8))
    good = pair_of((small, large), ([(1, 1)], [(2, 2)]))
    with pytest.raises(ValueError, match=r"photo1 is \(20, 40\)"):
        replace(good, photo1=small)
    with pytest.raises(ValueError, match="covers 3 matches"):
        replace(good, verification=Verification.none(3))


def test_drawing_leaves_its_input_alone() -> None:
    rng = np.random.default_rng(2)
    rgb = rng.integers(0, 255, (200, 66, 3), dtype=np.uint8)
    before = rgb.copy()
    photo = photo_of(rgb)
    evidence = pair_of((photo, photo), ([(10, 10)], [(20, 150)]))
    for height in (200, 333):
        draw_pair(evidence, LAYERS, height)
        blink_frames(evidence, height)
    assert np.array_equal(rgb, before)


def test_details_show_the_neighbourhood_of_an_inlier_in_the_middle() -> None:
    photos = (spotted((120, 330), (70, 60), RED), spotted((340, 150), (45, 95), BLUE))
    evidence = pair_of(photos, ([(70, 60)], [(45, 95)]), (0, 3))
    picture = draw_details(evidence, side=96)
    assert centre_of(picture[8:104], RED) == pytest.approx([8 + 47.5, 47.5], abs=1.0)
    assert centre_of(picture[108:204], BLUE) == pytest.approx([8 + 47.5, 47.5], abs=1.0)


def test_the_surest_inliers_stand_out_from_many() -> None:
    flat = photo_of(np.full((600, 100, 3), 90, np.uint8))
    points = np.column_stack([np.full(30, 50), np.linspace(20, 580, 30)])
    evidence = pair_of((flat, flat), (points, points), confidence=np.linspace(1.0, 0.5, 30))
    picture, layout = draw_pair(evidence, height=600), pair_layout(evidence, 600)
    between = (layout.cells[0][0] + layout.cells[0][2] + layout.cells[1][0]) // 2
    strength = [
        int(picture[layout.header + y - 2 : layout.header + y + 3, between].max())
        for y in points[:, 1].round().astype(int)
    ]
    assert min(strength[:20]) > max(strength[20:])


def test_the_legend_says_what_the_layers_show() -> None:
    flat = photo_of(np.zeros((60, 30, 3), np.uint8))
    evidence = pair_of((flat, flat), ([], []), ok=False)
    assert _legend(evidence, frozenset({"marks", "heat"})) == ["no marks were computed", "no heat map was computed"]
    ones = np.ones((60, 30), np.float32)
    assert _legend(evidence, frozenset({"skin"})) == ["no skin was compared"]
    spots = np.zeros((3, 2), np.float32)
    evidence = replace(evidence, regions0=Regions(ones, ones, 1.0, 1.0), heat0=ones)
    evidence = replace(evidence, skin=SkinPlaces(spots, spots, np.ones(3, np.float32)))
    told = _legend(evidence, frozenset({"keypoints", "marks", "body", "skin", "heat"}))
    assert [words.split(":")[0] for words in told] == ["rings", "orange", "lines", "squares", "glow"]
    assert "squares: 3 places of alike skin" in told


def test_captions_of_any_length_and_script_fit() -> None:
    flat = photo_of(np.zeros((60, 30, 3), np.uint8))
    evidence = pair_of((flat, flat), ([], []))
    size = draw_pair(replace(evidence, caption0="a\nb", title="t"), height=120).shape
    hostile = "x" * 500 + "鯨\x00\udc80</script>\nsecond\nthird\nfourth"
    drawn = draw_pair(
        replace(evidence, caption0=hostile, caption1="", title=hostile, probability=0.5, reasons=(hostile,) * 9),
        height=120,
    )
    assert drawn.shape[1] == size[1]
    text = drawing.shorten("IMG_" + "0" * 200 + "_end.jpg", 120, 12)
    assert drawing.font(12).getlength(text) <= 120
    assert text.startswith("IMG") and text.endswith("jpg") and "…" in text
    assert caption("file.jpg", None, "W7", float("nan"), "top") == "file.jpg\nW7 · top"
    assert caption() == ""


def test_contact_sheet_shows_every_photograph_and_says_which_cannot_be_read() -> None:
    photographs = [(np.full((90, 30, 3), value, np.uint8), f"{value}\nx") for value in (40, 80, 120, 160)]
    sheet = draw_contact_sheet([*photographs, (None, "broken")], columns=3, height=60, width=40)
    assert sheet.shape[1] == 3 * 48 + 8
    for value in (40, 80, 120, 160):
        assert (sheet == value).all(axis=2).sum() >= 60 * 20 * 0.9
    assert draw_contact_sheet([]).size


def test_files_hold_the_picture(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(3)
    rgb = drawing.resize(rng.integers(0, 255, (6, 4, 3), dtype=np.uint8), (80, 120))
    png = save_png(tmp_path / "new" / "pair.png", rgb)
    assert np.array_equal(np.asarray(Image.open(png)), rgb)
    jpeg = np.asarray(Image.open(save_jpeg(tmp_path / "pair.jpg", rgb, 95)))
    assert np.abs(jpeg.astype(int) - rgb.astype(int)).mean() < 4
    assert encode_jpeg(rgb)[:2] == b"\xff\xd8"
