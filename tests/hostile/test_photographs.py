"""Photographs that come from strangers: depth, size and kind of file decide nothing in silence."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bench.child_process import environment
from features import photo_file, photo_pixels
from features.describe import content_key
from features.photo import PhotoError, image_size, read_photo
from features.records import PhotoRef
from scarmatch.settings import SettingsError


def deep_values(bits: int, channels: int) -> np.ndarray:
    shape = (40, 60) if channels == 1 else (40, 60, channels)
    ramp = np.linspace(0, 2**bits - 1, int(np.prod(shape))).reshape(shape)
    return ramp.round().astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_fewer_bits_in_a_file_of_sixteen_are_not_black(tmp_path: Path, bits: int, suffix: str, channels: int) -> None:
    values = deep_values(bits, channels)
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), values)
    expected = values / (2**bits - 1) * 255
    # OpenCV writes blue first.
    expected = np.repeat(expected[:, :, None], 3, axis=2) if channels == 1 else expected[:, :, ::-1]
    assert np.abs(read_photo(path).rgb - expected).max() <= 1.0
    box = (5, 7, 20, 30)
    assert np.array_equal(read_photo(path, box).rgb, read_photo(path).rgb[7:37, 5:25])


def test_transparency_of_dark_deep_colour_is_kept(tmp_path: Path) -> None:
    values = np.dstack([deep_values(12, 3), np.full((40, 60), 65535, np.uint16)])
    values[:10, :10, 3] = 0
    cv2.imwrite(str(tmp_path / "deep.png"), values)
    photo = read_photo(tmp_path / "deep.png")
    assert not photo.valid[:10, :10].any()
    assert photo.valid[12:24].all()
    assert 150 < photo.rgb[24, 30, 0] < 170  # of 4095: 0.61


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_cut_and_reduced_alike_in_every_turn(tmp_path: Path, orientation: int, monkeypatch) -> None:
    rng = np.random.default_rng(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rng.integers(0, 256, (24, 40, 3), np.uint8)).save(tmp_path / "a.png", exif=exif)
    whole = read_photo(tmp_path / "a.png").rgb
    assert np.array_equal(read_photo(tmp_path / "a.png", (4, 6, 12, 16)).rgb, whole[6:22, 4:16])
    monkeypatch.setattr(photo_pixels, "KEPT_PIXELS", 60)
    small = read_photo(tmp_path / "a.png", (4, 6, 12, 16)).rgb
    assert small.shape == (8, 6, 3)
    mean = whole[6:22, 4:16].reshape(8, 2, 6, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - mean).max() <= 1.0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_can_be_reduced(tmp_path: Path, mode: str, monkeypatch) -> None:
    grey = np.kron(np.arange(0, 240, 2, dtype=np.uint8).reshape(10, 12), np.ones((3, 3), np.uint8))
    values = {"I;16": grey.astype(np.uint16) * 257, "I": grey.astype(np.int32), "F": grey.astype(np.float32)}
    image = Image.fromarray(values[mode]) if mode in values else Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "a.tif")
    whole = read_photo(tmp_path / "a.tif").rgb
    monkeypatch.setattr(photo_pixels, "KEPT_PIXELS", 130)
    small = read_photo(tmp_path / "a.tif").rgb
    assert small.shape == (10, 12, 3)
    if mode != "1":
        assert np.abs(small.astype(int) - whole[1::3, 1::3]).max() <= 1


def test_a_small_file_of_many_pixels_takes_bounded_memory(tmp_path: Path) -> None:
    side = 13_000
    rows = zlib.compress(bytes(side * (side + 1)), 9)
    path = tmp_path / "large.png"

    def part(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", rows) + part(b"IEND", b""))
    assert path.stat().st_size < 170_000
    program = (
        "from bench.memory import peak_mib\nfrom features.photo import read_photo\n"
        f"print(read_photo({str(path)!r}).size)\n"
        "print(int(peak_mib() * 2**20))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    size, peak = run.stdout.splitlines()
    assert size == "(4334, 4334)"
    assert int(peak) < 1e9
    assert image_size(path) == (side, side)


def test_the_limit_of_pixels_is_a_setting_that_the_message_names(tmp_path: Path, monkeypatch) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setenv("SCARMATCH_MAX_PIXELS", "1000")
    for look in (read_photo, image_size):
        with pytest.raises(PhotoError, match=r"a\.png: has more than 1,000 pixels.*SCARMATCH_MAX_PIXELS"):
            look(tmp_path / "a.png")
    monkeypatch.setenv("SCARMATCH_MAX_PIXELS", "many")
    with pytest.raises(SettingsError, match="SCARMATCH_MAX_PIXELS is 'many'"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("ending", ["eps", "pdf", "ico", "tga", "pcx"])
def test_what_is_no_photograph_is_not_opened_whatever_it_is_called(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (32, 32), "red").save(path, format=ending)
    with pytest.raises(PhotoError, match="not an image in a known format"):
        read_photo(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="devices and pipes of a Unix")
def test_devices_pipes_and_folders_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("pipe.jpg", "zero.jpg", "folder.jpg"):
        path = tmp_path / name
        for look in (read_photo, image_size, lambda where: content_key(PhotoRef("a", where))):
            with pytest.raises(PhotoError, match=name):
                look(path)


def test_a_file_beyond_the_limit_of_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.jpg"
    with path.open("wb") as stream:
        stream.truncate(photo_file.MAX_BYTES + 1)  # a hole: it takes no room
    with pytest.raises(PhotoError, match="no photograph is so large"):
        content_key(PhotoRef("a", path))


def test_a_flipped_bit_in_a_png_is_damage_not_another_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    whole, pixels = path.read_bytes(), read_photo(path).rgb
    for bit in range(8 * 33, 8 * len(whole), 11):  # behind signature and header
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            assert np.array_equal(read_photo(path).rgb, pixels), bit
        except PhotoError:
            continue
