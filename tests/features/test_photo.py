"""Reading photographs: orientation, colour modes, missing pixels, boxes, the canonical frame, and bad files."""

from __future__ import annotations

import hashlib
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from features.photo import PhotoError, canonical_frame, image_size, photo_from_array, read_photo, valid_mask
from features.records import Frame

# What a viewer shows for EXIF orientation 1..8, as NumPy operations on the stored pixels (EXIF 2.3, tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


def noise_image(width: int = 30, height: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(10, 200, (height, width, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, orientation: int | None = None, **options: object) -> Path:
    image = Image.fromarray(pixels)
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_exif_orientation_is_applied_once(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = np.kron(noise_image(4, 3), np.ones((16, 16, 1), dtype=np.uint8))  # flat 16 px blocks survive JPEG
    options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
    path = save(tmp_path / f"turned{suffix}", stored, orientation, **options)
    photo = read_photo(path)
    expected = UPRIGHT[orientation](stored)
    assert photo.rgb.shape == expected.shape
    assert np.abs(photo.rgb.astype(int) - expected).max() <= (12 if suffix == ".jpg" else 0)
    assert image_size(path) == photo.size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_unknown_orientation_values_change_nothing(tmp_path: Path, orientation: int) -> None:
    stored = noise_image()
    assert np.array_equal(read_photo(save(tmp_path / "odd.png", stored, orientation)).rgb, stored)


def test_digest_is_that_of_the_bytes_and_pixels_are_plain(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise_image())
    photo = read_photo(str(path))
    assert photo.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert photo.path == path
    assert photo.rgb.dtype == np.uint8
    assert photo.rgb.flags.c_contiguous
    assert photo.valid.dtype == bool
    assert photo.valid.all()


def test_grey_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    grey = noise_image()[:, :, 0]
    for mode in ("L", "P", "1"):
        path = tmp_path / f"{mode}.png"
        source = Image.fromarray(grey).convert(mode)
        source.save(path)
        assert np.array_equal(read_photo(path).rgb, np.asarray(source.convert("RGB")))
    cmyk = Image.new("CMYK", (12, 9), (0, 255, 255, 0))
    cmyk.save(tmp_path / "cmyk.tif")
    assert np.array_equal(read_photo(tmp_path / "cmyk.tif").rgb[4, 4], [255, 0, 0])


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 30 * 20).reshape(20, 30).astype(np.uint16)
    for suffix in (".png", ".tif"):
        path = tmp_path / f"deep{suffix}"
        Image.fromarray(deep).save(path)
        rgb = read_photo(path).rgb
        assert np.abs(rgb[:, :, 1] - deep / 257.0).max() <= 1
    Image.fromarray((deep / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    assert np.abs(read_photo(tmp_path / "float.tif").rgb[:, :, 0] - deep / 257.0).max() <= 1


def test_transparent_pixels_are_missing(tmp_path: Path) -> None:
    rgba = np.dstack([noise_image(), np.full((20, 30), 255, np.uint8)])
    rgba[5:9, 3:11, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    photo = read_photo(tmp_path / "alpha.png")
    assert not photo.valid[5:9, 3:11].any()
    assert np.count_nonzero(~photo.valid) == 32
    assert np.array_equal(photo.rgb[photo.valid], rgba[photo.valid][:, :3])
    palette = Image.fromarray(np.repeat([[0, 1]], 10, axis=0).astype(np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=1)
    assert read_photo(tmp_path / "p.png").valid.tolist() == [[True, False]] * 10


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ((200, 10, 10), (10, 200, 10))]
    frames[0].save(tmp_path / "move.gif", save_all=True, append_images=frames[1:])
    assert read_photo(tmp_path / "move.gif").rgb[3, 3].tolist() == [200, 10, 10]


def test_box_is_cut_from_the_upright_photograph_and_clipped(tmp_path: Path) -> None:
    stored = noise_image(30, 20)
    path = save(tmp_path / "turned.png", stored, 6)
    upright = np.rot90(stored, -1)  # 20 wide, 30 high
    assert np.array_equal(read_photo(path, box=(2, 5, 7, 11)).rgb, upright[5:16, 2:9])
    assert np.array_equal(read_photo(path, box=(-4, 25, 10, 100)).rgb, upright[25:, :6])
    assert read_photo(path, box=(2, 5, 7, 11)).sha256 == read_photo(path).sha256
    for box in ((20, 0, 5, 5), (0, 0, 0, 5), (0, 0, 5, -1), (-10, 0, 10, 5)):
        with pytest.raises(PhotoError, match="leaves nothing"):
            read_photo(path, box=box)


def test_bad_files_raise_one_error_that_names_file_and_way_out(tmp_path: Path) -> None:
    good = save(tmp_path / "good.jpg", noise_image(300, 200), quality=95).read_bytes()
    png = save(tmp_path / "good.png", noise_image(300, 200)).read_bytes()
    bad = {
        "empty.jpg": b"",
        "truncated.jpg": good[: len(good) // 2],
        "truncated.png": png[: len(png) // 2],
        "header.jpg": good[:8],
        "damaged.png": png[:60] + bytes(200) + png[260:],
        "text.jpg": b"these are no pixels",
        "zeros.tif": b"II*\x00" + bytes(40),
    }
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(PhotoError, match=name) as caught:
            read_photo(tmp_path / name)
        assert caught.value.path == tmp_path / name
        assert caught.value.reason
    with pytest.raises(PhotoError, match="directory"):
        read_photo(tmp_path)
    with pytest.raises(PhotoError, match="not found"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError):
        read_photo("nul\0byte.jpg")
    for name in ("empty.jpg", "text.jpg", "none.jpg"):
        with pytest.raises(PhotoError, match=name):
            image_size(tmp_path / name)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    # A PNG header that announces 60,000 x 60,000 pixels.
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data += struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    (tmp_path / "bomb.png").write_bytes(data)
    for reader in (read_photo, image_size):
        with pytest.raises(PhotoError, match="pixels"):
            reader(tmp_path / "bomb.png")


def test_error_survives_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(PhotoError("a/b.jpg", "is broken")))
    assert (error.path, error.reason, str(error)) == (Path("a/b.jpg"), "is broken", "a/b.jpg: is broken")


def test_photo_from_array() -> None:
    pixels = noise_image()
    photo = photo_from_array(pixels, box=(1, 2, 5, 6))
    assert np.array_equal(photo.rgb, pixels[2:8, 1:6])
    assert photo.sha256 == photo_from_array(pixels).sha256 != photo_from_array(noise_image(seed=1)).sha256
    assert photo_from_array(pixels[:, :, 0]).rgb.shape == (20, 30, 3)
    for wrong in (pixels.astype(np.float32), pixels[:, :, :2], pixels[:0]):
        with pytest.raises(PhotoError):
            photo_from_array(wrong)


# ---- missing pixels ------------------------------------------------------------------------------------------------


def animal(height: int = 240, width: int = 90, seed: int = 0, pale: int = 170) -> np.ndarray:
    """A pale spindle on dark water with some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    inside = ((y - height / 2) / (height * 0.46)) ** 2 + ((x - width / 2) / (width * 0.42)) ** 2 < 1
    image = np.where(inside[:, :, None], (pale - 8, pale - 5, pale + 10), (70, 66, 60)) + rng.normal(
        0, 4, (height, width, 3)
    )
    return np.clip(image, 0, 255).astype(np.uint8)


def cut_corner(image: np.ndarray, reach_x: int, reach_y: int, white: int = 255) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    missing = x / reach_x + y / reach_y < 1
    image = image.copy()
    image[missing] = white
    return image, missing


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("white", [255, 243])
def test_white_corner_is_missing_even_after_jpeg(tmp_path: Path, turns: int, white: int) -> None:
    image, missing = cut_corner(animal(), 50, 110, white)
    image, missing = np.rot90(image, turns), np.rot90(missing, turns)
    path = save(tmp_path / "corner.jpg", np.ascontiguousarray(image), quality=85)
    valid = read_photo(path).valid
    assert np.mean(valid[missing]) < 0.02
    assert np.mean(valid[~missing]) > 0.97


def test_thin_white_sliver_is_missing() -> None:
    image, missing = cut_corner(animal(), 80, 6)
    valid = valid_mask(image)
    assert np.mean(valid[missing]) < 0.01  # the last pixel or two of its tip may stay
    assert valid[12:].all()


def test_two_corners_and_the_corner_of_a_photograph_inside_the_crop() -> None:
    image, missing = cut_corner(animal(), 40, 70)
    image, missing = np.rot90(image, 2).copy(), np.rot90(missing, 2)
    image, second = cut_corner(image, 30, 90)
    valid = valid_mask(image)
    assert not valid[missing | second].any()
    assert valid.mean() > 0.7
    y, x = np.mgrid[0:240, 0:90]
    wedge = (x + y / 4 < 30) | (y + x / 4 < 40)  # two edges of the photograph meet inside the crop
    image = animal()
    image[wedge] = 255
    valid = valid_mask(image)
    assert not valid[wedge].any()
    assert valid.mean() > 0.4


def test_pale_body_glints_and_foam_stay_valid() -> None:
    body = animal()
    y, x = np.mgrid[0:240, 0:90]
    body[((y - 0) / 150.0) ** 2 + ((x - 0) / 60.0) ** 2 < 1] = 255  # overexposed, round, holds a corner
    assert valid_mask(body).all()
    glint = animal()
    glint[100:110, 40:50] = 255
    glint[60:90, 0:20] = 255  # touches the border, holds no corner
    glint[0:3, 0:3] = 255  # too small
    assert valid_mask(glint).all()
    foam = animal()
    ragged = np.random.default_rng(3).random((240, 90)) < 0.55
    foam[ragged & (y < 60) & (x < 50)] = 255
    foam[:2, :2] = 255
    assert valid_mask(foam).mean() > 0.99


def test_glint_that_runs_into_a_white_corner_stays_valid() -> None:
    image, missing = cut_corner(animal(), 70, 90)
    image[20:75, 30:33] = 255
    valid = valid_mask(image)
    glint = np.zeros_like(missing)
    glint[66:75, 30:33] = True
    assert valid[glint].all()
    assert np.mean(valid[missing]) < 0.02


def test_cut_out_on_white_and_all_white() -> None:
    cut_out = animal()
    water = cut_out.max(axis=2) < 110
    cut_out[water] = 255
    valid = valid_mask(cut_out)
    assert not valid[water].any()
    assert valid[120, 45]
    assert not valid_mask(np.full((50, 40, 3), 255, np.uint8)).any()
    assert not valid_mask(np.full((1, 1, 3), 255, np.uint8)).any()
    for shape in ((1, 1), (3, 5), (1, 40), (40, 1), (2, 2)):
        assert valid_mask(np.zeros((*shape, 3), np.uint8)).all()


# ---- canonical frame -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("viewpoint", "turns"),
    [("top", 0), ("left", 3), ("right", 1), (" Left ", 3), (None, 0), ("front", 0), (float("nan"), 0)],
)
def test_canonical_frame_by_viewpoint(viewpoint: str | None, turns: int) -> None:
    for size in ((120, 400), (400, 120)):
        frame = canonical_frame(size, viewpoint)
        assert frame.quarter_turns == turns
        assert frame.size == size


def test_left_view_turns_its_head_up() -> None:
    left = np.zeros((20, 60), dtype=np.uint8)
    left[10, 2] = 255  # the head, at the image's left
    for image, viewpoint in ((left, "left"), (left[:, ::-1], "right")):
        canonical = canonical_frame((60, 20), viewpoint).turn(image)
        assert canonical.shape == (60, 20)
        assert np.argwhere(canonical)[0, 0] == 2


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [(7, 19), (19, 7), (1, 5), (6, 6)])
def test_frame_coordinates_agree_with_the_turned_image(size: tuple[int, int], turns: int) -> None:
    width, height = size
    image = np.arange(width * height).reshape(height, width)
    frame = Frame(size, turns)
    turned = frame.turn(image)
    assert frame.canonical_size == (turned.shape[1], turned.shape[0])
    y, x = np.mgrid[0:height, 0:width]
    xy = np.stack([x.ravel(), y.ravel()], axis=1)
    there = frame.to_canonical(xy)
    assert there.dtype == np.float32
    columns, rows = there.astype(int).T
    assert np.array_equal(turned[rows, columns], image[xy[:, 1], xy[:, 0]])
    assert np.array_equal(frame.to_original(there), xy)
    assert np.array_equal(frame.turn_back(turned), image)


@pytest.mark.parametrize("turns", [0, 1])
@pytest.mark.parametrize("degrees", [20.0, 45.0, 70.0])
def test_a_frame_at_an_angle_holds_the_ellipse_in_the_photograph(degrees: float, turns: int) -> None:
    width, height = size = (61, 35)
    y, x = np.mgrid[0:height, 0:width]
    blob = np.exp(-((x - 44.0) ** 2 + (y - 11.0) ** 2) / 18.0).astype(np.float32)
    frame = Frame(size, turns).rotated(degrees)
    turned = frame.turn(blob)
    assert frame.canonical_size == turned.shape[::-1]
    # The coordinates go where the picture goes.
    where = np.unravel_index(turned.argmax(), turned.shape)[::-1]
    np.testing.assert_allclose(frame.to_canonical([[44.0, 11.0]])[0], where, atol=1.0)
    np.testing.assert_allclose(frame.turn_back(turned), blob, atol=0.08)
    around = np.linspace(0, 2 * np.pi, 180)
    ellipse = np.c_[30 + 30.5 * np.cos(around), 17 + 17.5 * np.sin(around)].astype(np.float32)
    there = frame.to_canonical(ellipse)
    np.testing.assert_allclose(there.min(axis=0), -0.5, atol=0.6)
    np.testing.assert_allclose(there.max(axis=0), np.array(frame.canonical_size) - 0.5, atol=0.6)
    np.testing.assert_allclose(frame.to_original(there), ellipse, atol=1e-3)
    # Counter-clockwise, as quarter turns are: what lies to the right goes up.
    middle, right = frame.to_canonical([[30.0, 17.0], [50.0, 17.0]])
    angle = np.degrees(np.arctan2(middle[1] - right[1], right[0] - middle[0]))
    assert angle == pytest.approx(90 * turns + degrees, abs=0.1)
    shown = frame.turn(np.ones((height, width), bool))
    assert shown.dtype == bool and 0.7 < shown.mean() < 1, "what lies outside of the photograph is missing"


def test_rotations_go_on_from_a_frame() -> None:
    frame = Frame((61, 35), 3)
    assert frame.rotated(90) == Frame((61, 35), 0) and frame.rotated(0) == frame
    assert frame.rotated(45).rotated(45) == frame.rotated(90)
    assert frame.rotated(200) == Frame((61, 35), 1, 20.0)
