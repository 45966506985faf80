"""Body and mark maps on small made-up animals whose outline and marks are known, and on pictures that show nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from features.photo import canonical_frame, photo_from_array
from features.records import Photo, Regions
from features.regions import RegionSettings, find_regions, flatten
from scarmatch.settings import SettingsError

PALE, CALF = (144, 147, 166), (70, 70, 80)
WATER = (70, 66, 58)


def outline(height: int, width: int) -> np.ndarray:
    """(H, W) bool spindle, a little off the middle."""
    y = np.linspace(-1, 1, height)[:, None]
    x = np.linspace(-1, 1, width)[None] - 0.04
    return np.abs(x) < 0.8 * np.sqrt(np.clip(1 - (y / 0.94) ** 2, 0, 1)) * (1 - 0.25 * y)


def scars(height: int, width: int) -> np.ndarray:
    """(H, W) bool: two slanting scratches, a pit and an arc; widths grow with the picture."""
    canvas = np.zeros((height, width), np.uint8)
    thick = max(1, round(height / 160))

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * width), round(y * height)

    cv2.line(canvas, at(0.25, 0.35), at(0.42, 0.43), 1, thick)
    cv2.line(canvas, at(0.68, 0.62), at(0.60, 0.70), 1, thick)
    cv2.circle(canvas, at(0.68, 0.40), max(1, round(height / 130)), 1, -1)
    cv2.ellipse(canvas, at(0.36, 0.60), (round(0.10 * width), round(0.05 * height)), 0, 180, 300, 1, thick)
    return canvas > 0


def whale(
    height: int = 420,
    width: int = 150,
    *,
    skin: tuple[int, int, int] = PALE,
    contrast: float = 0.0,
    lit: int = 0,
    ridge: float = 0.0,
    bend: float = 0.0,
    noise: float = 3.0,
    seed: int = 0,
) -> np.ndarray:
    """Draw one head-up animal on wavy water.

    Args:
        contrast: grey levels by which the marks differ from the skin (0: none).
        lit: grey levels between the right and the left flank (the sign says which one is in the sun).
        ridge: grey levels of the line along the back.
        bend: how far that line curves to the right at both ends, as a share of half the width.
    """
    rng = np.random.default_rng(seed)
    body = outline(height, width)
    x = np.linspace(-1, 1, width)[None] - bend * np.linspace(-1, 1, height)[:, None] ** 2
    image = np.empty((height, width, 3), np.float32)
    waves = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 2.0)
    image[:] = np.array(WATER, np.float32) + 40 * waves[:, :, None]
    shade = np.broadcast_to(0.5 * lit * np.tanh((x - 0.04) / 0.05) - 12 * x**2, body.shape)
    shade = shade + ridge * np.exp(-(((x - 0.04) / 0.02) ** 2))
    shade = shade + contrast * cv2.GaussianBlur(scars(height, width).astype(np.float32), (0, 0), 0.6)
    image[body] = (np.array(skin, np.float32) + shade[:, :, None])[body]
    image = cv2.GaussianBlur(image, (0, 0), 0.7) + rng.normal(0, noise, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def regions_of(image: np.ndarray, viewpoint: str | None = "top") -> Regions:
    photo = photo_from_array(np.ascontiguousarray(image))
    return find_regions(photo, canonical_frame(photo.size, viewpoint))


def overlap(regions: Regions, truth: np.ndarray) -> float:
    """Intersection over union of the body at certainty 0.5."""
    found = regions.body > 0.5
    return float(np.count_nonzero(found & truth) / np.count_nonzero(found | truth))


# ---- body ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"skin": CALF},
        {"lit": 50},
        {"lit": -50},
        {"contrast": -15, "ridge": 20, "lit": 40},
        {"height": 110, "width": 40},
        {"height": 1000, "width": 350},
        {"height": 600, "width": 130},
        {"height": 200, "width": 140},
    ],
)
def test_body_is_found(options: dict) -> None:
    image = whale(**options)
    truth = outline(*image.shape[:2])
    regions = regions_of(image)
    assert overlap(regions, truth) > 0.85
    assert regions.body_share == pytest.approx(truth.mean(), abs=0.08)


def test_body_of_a_lateral_and_of_an_unknown_wide_view() -> None:
    image = np.ascontiguousarray(np.rot90(whale(lit=30), 1))
    truth = np.rot90(outline(420, 150), 1)
    for viewpoint in ("left", "right", None):
        assert overlap(regions_of(image, viewpoint), truth) > 0.85


@pytest.mark.parametrize(("turns", "viewpoint"), [(1, "left"), (3, "right")])
def test_result_turns_with_the_photograph(turns: int, viewpoint: str) -> None:
    image = whale(contrast=-20, lit=20)
    upright = regions_of(image)
    turned = regions_of(np.rot90(image, turns), viewpoint)
    assert np.allclose(turned.body, np.rot90(upright.body, turns), atol=1e-5)
    assert np.allclose(turned.marks, np.rot90(upright.marks, turns), atol=1e-5)
    assert turned.body_share == pytest.approx(upright.body_share)


@pytest.mark.parametrize(("height", "width"), [(420, 150), (901, 323)])
def test_missing_pixels_carry_nothing_and_do_not_count(height: int, width: int) -> None:
    image = whale(height, width, contrast=-20)
    y, x = np.mgrid[0:height, 0:width]
    missing = x / (0.6 * width) + y / (0.38 * height) < 1
    image[missing] = 255
    photo = photo_from_array(image)
    regions = find_regions(photo, canonical_frame(photo.size, "top"))
    assert not photo.valid[missing].any()
    assert not regions.body[~photo.valid].any()
    assert not regions.marks[~photo.valid].any()
    truth = outline(height, width) & photo.valid
    assert overlap(regions, truth) > 0.85
    assert regions.body_share == pytest.approx(truth.sum() / photo.valid.sum(), abs=0.08)


def test_maps_are_on_the_photographs_grid() -> None:
    image = whale(height=1300, width=500)
    photo = photo_from_array(image)
    before = photo.rgb.copy()
    regions = find_regions(photo, canonical_frame(photo.size, "top"))
    for values in (regions.body, regions.marks):
        assert values.shape == (1300, 500)
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1
    assert np.array_equal(photo.rgb, before)
    assert not regions.marks[regions.body == 0].any()


# ---- marks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contrast", [-22, 22])
@pytest.mark.parametrize("size", [(420, 150), (900, 320)])
def test_planted_marks_stand_out(size: tuple[int, int], contrast: float) -> None:
    image = whale(*size, contrast=contrast, lit=30)
    marks = regions_of(image).marks
    truth = scars(*size).astype(np.uint8)
    reach = round(size[0] / 20) | 1  # wide filters see a mark from beside it
    near = cv2.dilate(truth, np.ones((reach, reach), np.uint8)) > 0
    on, off = marks[truth > 0].mean(), marks[outline(*size) & ~near].mean()
    assert on > 0.35
    assert on > 20 * off
    # Each of the four marks is found, not only the loudest.
    _, labels = cv2.connectedComponents(cv2.dilate(truth, np.ones((3, 3), np.uint8)))
    for label in range(1, labels.max() + 1):
        assert marks[labels == label].max() > 0.3


@pytest.mark.parametrize(
    "options", [{}, {"lit": 50}, {"skin": CALF}, {"noise": 8}, {"noise": 0}, {"height": 150, "width": 60}]
)
def test_an_animal_without_marks_has_an_empty_map(options: dict) -> None:
    image = whale(**options)
    assert regions_of(image).marks[outline(*image.shape[:2])].mean() < 0.006


@pytest.mark.parametrize("bend", [0.0, -0.2])
def test_the_ridge_is_no_mark(bend: float) -> None:
    clean = regions_of(whale(lit=40, ridge=25, bend=bend)).marks
    scarred = regions_of(whale(lit=40, ridge=25, bend=bend, contrast=-22)).marks
    body = outline(420, 150)
    assert clean[body].mean() < 0.006
    assert scarred[scars(420, 150)].mean() > 0.3


def test_marks_are_found_again_in_other_light() -> None:
    def soft(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(regions_of(image).marks, (0, 0), 2.0)[outline(420, 150)]

    morning = soft(whale(contrast=-22, lit=40, seed=1))
    evening = soft(whale(contrast=-22, lit=-40, seed=2))
    other = soft(whale(contrast=-22, lit=40, seed=1)[:, ::-1])
    assert np.corrcoef(morning, evening)[0, 1] > 0.6
    assert np.corrcoef(evening, other)[0, 1] < 0.2


def test_glints_and_the_blowhole_are_no_marks() -> None:
    image = whale()
    for x, y in ((60, 150), (90, 220), (70, 300), (100, 130)):
        image[y : y + 4, x : x + 3] = 255
        image[y + 10 : y + 12, x : x + 2] = 225
    cv2.circle(image, (78, 80), 5, (40, 36, 38), -1)
    assert regions_of(image).marks[outline(420, 150)].mean() < 0.012


@pytest.mark.parametrize("noise", [0, 5])
def test_sharpness_falls_with_blur_and_not_with_noise(noise: float) -> None:
    def sharpness(sigma: float) -> float:
        image = whale(noise=0).astype(np.float32)
        image = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
        image += np.random.default_rng(5).normal(0, noise, image.shape)
        return regions_of(np.clip(image, 0, 255).astype(np.uint8)).sharpness

    sharp, soft, blurred = (sharpness(sigma) for sigma in (0, 1.5, 3.0))
    assert 0.5 < sharp <= 1.1
    assert soft < 0.8 * sharp
    assert blurred < 0.8 * soft


# ---- pictures that show nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 5), (2, 300), (300, 2), (8, 8), (5, 2000), (2000, 5), (60, 40)])
@pytest.mark.parametrize("fill", [0, 255, 128, None])
@pytest.mark.parametrize("viewpoint", ["top", "left"])
def test_poor_pictures_raise_nothing(shape: tuple[int, int], fill: int | None, viewpoint: str) -> None:
    if fill is None:
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    else:
        image = np.full((*shape, 3), fill, np.uint8)
    regions = regions_of(image, viewpoint)
    for values in (regions.body, regions.marks):
        assert values.shape == shape
        assert np.isfinite(values).all()
    assert 0 <= regions.body_share <= 1
    assert np.isfinite(regions.sharpness)
    if fill is not None:
        assert not regions.body.any()
        assert not regions.marks.any()
        assert regions.body_share == regions.sharpness == 0


def test_nothing_valid_gives_zeros() -> None:
    image = whale()
    photo = Photo(rgb=image, valid=np.zeros(image.shape[:2], bool), sha256="")
    regions = find_regions(photo, canonical_frame(photo.size, "top"))
    assert not regions.body.any()
    assert regions.body_share == 0


# ---- flattening ----------------------------------------------------------------------------------------------------


def test_flatten_is_neutral_where_nothing_varies_or_counts() -> None:
    plain = np.full((40, 30), 77, np.uint8)
    assert np.allclose(flatten(plain, np.ones((40, 30), bool)), 0.5)
    image = whale()[:, :, 1]
    valid = outline(420, 150)
    flat = flatten(image, valid)
    assert flat.dtype == np.float32
    assert 0 <= flat.min() < 0.2 < 0.8 < flat.max() <= 1
    assert np.all(flat[~valid] == 0.5)
    assert flat[valid].mean() == pytest.approx(0.5, abs=0.02)
    assert flatten(image, np.zeros_like(valid)).tolist() == np.full((420, 150), 0.5).tolist()
    assert flatten(np.zeros((0, 3)), np.zeros((0, 3), bool)).shape == (0, 3)


def test_flatten_takes_light_away_and_keeps_marks() -> None:
    everywhere = np.ones((420, 150), bool)
    noise = np.random.default_rng(0).normal(0, 5, (420, 150)).astype(np.float32)
    slope = np.linspace(0, 120, 150, dtype=np.float32)[None]
    dim, bright = flatten(60 + noise, everywhere, 4.0), flatten(60 + slope + noise, everywhere, 4.0)
    inside = np.s_[20:-20, 20:-20]
    assert np.corrcoef(dim[inside].ravel(), bright[inside].ravel())[0, 1] > 0.97


def test_flatten_does_not_look_outside() -> None:
    """Changing what does not count changes nothing (the mean of the whole would be a leak)."""
    image = whale(contrast=-20)[:, :, 0].astype(np.float32)
    valid = outline(420, 150)
    other = np.where(valid, image, 255.0)
    assert np.allclose(flatten(image, valid, 6), flatten(other, valid, 6), atol=2e-3)


def test_flatten_of_one_spot_by_hand() -> None:
    """sigma 1 means two 3 x 3 boxes: weights (1, 2, 3, 2, 1) / 9 along each axis."""
    image = np.zeros((21, 21), np.float32)
    image[10, 10] = 90.0
    weights = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81.0
    share = weights[2, 2]
    mean = 90.0 * share
    deviation = np.sqrt(90.0**2 * share - mean**2) + 2.0
    flat = flatten(image, np.ones((21, 21), bool), 1)
    assert flat[10, 10] == pytest.approx(min(1.0, 0.5 + (90.0 - mean) / (5 * deviation)), abs=1e-4)
    near = weights[2, 1]
    mean, deviation = 90.0 * near, np.sqrt(90.0**2 * near - (90.0 * near) ** 2) + 2.0
    assert flat[10, 11] == pytest.approx(0.5 - mean / (5 * deviation), abs=1e-4)


def test_relative_sigma_follows_the_longer_side() -> None:
    image = whale()[:, :, 0]
    valid = np.ones_like(image, bool)
    assert np.array_equal(flatten(image, valid, 0.02), flatten(image, valid, 0.02 * 420))


# ---- settings ------------------------------------------------------------------------------------------------------


def test_settings() -> None:
    settings = RegionSettings()
    assert RegionSettings.from_dict(settings.to_dict()).fingerprint() == settings.fingerprint()
    assert settings.replace(mark_low=2.0).fingerprint() != settings.fingerprint()
    with pytest.raises(SettingsError, match="mark_low"):
        RegionSettings.from_dict({"mark_lw": 0.02})
    with pytest.raises(SettingsError, match="below mark_high"):
        RegionSettings(mark_low=6.0)
    photo = photo_from_array(whale(contrast=-22))
    frame = canonical_frame(photo.size, "top")
    strict = find_regions(photo, frame, settings.replace(mark_low=8.0, mark_high=20.0))
    assert strict.marks.sum() < 0.5 * find_regions(photo, frame).marks.sum()
