"""Tests of which files count as photographs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from features.photo_formats import is_photo, looks_like_photo, pillow_formats, why_left_out


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "b.jfif", "c.gif", "d.mpo", "e.tif", "f.webp", "g.bmp", "h.png"])
def test_what_every_pillow_reads_is_a_photograph(name: str) -> None:
    assert is_photo(Path(name))
    assert looks_like_photo(Path(name))
    assert why_left_out(Path(name)) is None


@pytest.mark.parametrize("name", [".jpg", "._a.jpg", ".hidden.png", "a.txt", "a.eps", "a.pdf", "a.svg", "jpg", "a"])
def test_other_files_neither_are_nor_look_like_one(name: str) -> None:
    assert not is_photo(Path(name))
    assert not looks_like_photo(Path(name))
    assert why_left_out(Path(name)) is None


@pytest.mark.parametrize(("name", "way_out"), [("a.CR2", "raw format"), ("a.nef", "JPEG"), ("a.jxl", "save it as")])
def test_what_is_left_out_is_told_why(name: str, way_out: str) -> None:
    assert looks_like_photo(Path(name))
    assert not is_photo(Path(name))
    assert way_out in (why_left_out(Path(name)) or "")


def test_heic_is_read_with_the_extra_and_named_without_it() -> None:
    readable = "HEIF" in pillow_formats()
    assert is_photo(Path("IMG_2.HEIC")) == readable
    assert looks_like_photo(Path("IMG_2.HEIC"))
    assert readable or "scarmatch[heic]" in (why_left_out(Path("IMG_2.HEIC")) or "")


def test_the_formats_open_photographs_and_nothing_else() -> None:
    for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        stream = io.BytesIO()
        Image.new("RGB", (8, 6)).save(stream, name)
        with Image.open(stream, formats=pillow_formats()) as image:
            assert image.size == (8, 6)
    stream = io.BytesIO()
    Image.new("RGB", (8, 6)).save(stream, "EPS")
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(stream, formats=pillow_formats())
