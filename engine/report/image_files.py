"""Pictures as files: (H, W, 3) uint8 RGB in, JPEG or PNG out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from features.records import ByteArray


def encode_jpeg(rgb: ByteArray, quality: int = 85) -> bytes:
    """Return a picture as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def save_png(path: Path | str, rgb: ByteArray) -> Path:
    """Write a picture as PNG, making its folder if need be; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(rgb)).save(path, "PNG")
    return path


def save_jpeg(path: Path | str, rgb: ByteArray, quality: int = 88) -> Path:
    """Write a picture as JPEG, making its folder if need be; returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(rgb, quality))
    return path
