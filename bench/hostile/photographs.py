"""Hostile photographs: small pictures of every format and depth, damaged, misnamed and with headers that lie."""

from __future__ import annotations

import io
import random
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bench.hostile.batches import Judge, run_in_batches
from bench.hostile.damage import damaged
from bench.hostile.outcome import Outcome
from features.describe import content_key
from features.photo import image_size, read_photo
from features.photo_formats import pillow_formats
from features.photo_pixels import KEPT_PIXELS
from features.records import ByteArray, PhotoRef

#: (format, mode, ending) of the pictures that Pillow writes.
_WRITTEN = (
    *(("JPEG", "RGB", ".jpg"), ("JPEG", "L", ".jpg"), ("JPEG", "CMYK", ".jpg"), ("PNG", "RGB", ".png")),
    *(("PNG", "RGBA", ".png"), ("PNG", "P", ".png"), ("PNG", "1", ".png"), ("PNG", "I;16", ".png")),
    *(("TIFF", "RGB", ".tif"), ("TIFF", "F", ".tif"), ("TIFF", "CMYK", ".tif"), ("BMP", "RGB", ".bmp")),
    *(("GIF", "P", ".gif"), ("WEBP", "RGB", ".webp"), ("PPM", "RGB", ".ppm"), ("JPEG2000", "RGB", ".jp2")),
    *(("AVIF", "RGB", ".avif"), ("HEIF", "RGB", ".heic")),
)


@dataclass(frozen=True, eq=False)
class Original:
    """A sound picture: its file's bytes, its ending, and what is read of it."""

    name: str
    data: bytes
    suffix: str
    rgb: ByteArray


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Read ``count`` damaged photographs.

    *Silent* is a PNG (the only format with checksums) that gives other pixels, or any file of which the size that its
    header tells is not the size that is read.
    """
    return run_in_batches("photographs", count, seed, folder)


def prepare(folder: Path) -> list[Original]:
    """Make the sound pictures."""
    rng = np.random.default_rng(0)
    base = cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 2)
    made = [
        (f"{kind} {mode}", _encode(kind, mode, base), end) for kind, mode, end in _WRITTEN if kind in pillow_formats()
    ]
    for suffix in (".png", ".tif"):
        deep = base.astype(np.uint16) * 16
        made.append((f"12 bits in 16, {suffix}", cv2.imencode(suffix, deep)[1].tobytes(), suffix))
    originals = []
    for name, data, suffix in made:
        path = folder / f"sound{suffix}"
        path.write_bytes(data)
        originals.append(Original(name, data, suffix, read_photo(path).rgb))
    return originals


def make(originals: list[Original], chance: random.Random, folder: Path) -> tuple[str, Judge]:
    """Damage one of the pictures."""
    original = chance.choice(originals)
    what, data, suffix = "", original.data, original.suffix
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if original.suffix == ".png" and chance.random() < 0.15:
            done, data = "header", _with_size(data, chance)
        else:
            done, data = damaged(data or b"\0", chance)
        what += f" {done}"
    if chance.random() < 0.1:
        suffix = chance.choice((".jpg", ".png", ".tif", ".heic", ".eps"))
    path = folder / f"hostile{suffix}"
    path.write_bytes(data)
    return f"{original.name}:{what}, as {suffix}", lambda: _judge(path, original, what)


def _judge(path: Path, original: Original, what: str) -> str | None:
    content_key(PhotoRef("hostile", path))
    size = image_size(path)
    photo = read_photo(path)
    if photo.rgb.dtype != np.uint8 or photo.valid.shape != photo.rgb.shape[:2]:
        return "the mask has another shape than the picture"
    if size[0] * size[1] <= KEPT_PIXELS and size != photo.size:
        return f"the header says {size}, the picture is {photo.size}"
    is_png = path.read_bytes().startswith(b"\x89PNG")
    if is_png and original.suffix == ".png" and "header" not in what and "junk" not in what:
        same = photo.rgb.shape == original.rgb.shape and np.array_equal(photo.rgb, original.rgb)
        return None if same else "a damaged PNG gives other pixels"
    return None


def _encode(kind: str, mode: str, base: ByteArray) -> bytes:
    image = Image.fromarray(base)
    if mode == "I;16":
        image = Image.fromarray(base[:, :, 0].astype(np.uint16) * 257)
    elif mode != "RGB":
        image = image.convert("L").convert("F") if mode == "F" else image.convert(mode)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
    image.save(stream, kind, **options)
    return stream.getvalue()


def _with_size(data: bytes, chance: random.Random) -> bytes:
    """Let a PNG's header tell another size, with a checksum that fits."""
    sides = [chance.choice((0, 1, 47, 65, 9_000, 13_000, 2**31 - 1)).to_bytes(4, "big") for _ in range(2)]
    header = b"IHDR" + b"".join(sides) + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
