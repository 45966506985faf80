"""Models as JSON files that carry a hash of their own content, so that damage is noticed before anything is built."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

#: Where the hash stands in a file.
SEAL = "sha256"
MAX_BYTES = 256 << 20


def write_sealed(path: Path | str, data: Mapping[str, Any]) -> None:
    """Write plain JSON values with their hash.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps({**data, SEAL: seal(data)}, indent=1, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def read_sealed(path: Path | str, known: Collection[str] | None = None) -> dict[str, Any]:
    """Return the values of a file without their hash; a file without one (of an earlier version) is taken as it is.

    Args:
        path: the file.
        known: names that its values may have, so that a hash under a damaged name is noticed; None allows any.

    Raises:
        ValueError: no file, too large, no JSON object with finite numbers, unknown names, or another content than its
            hash says; the message does not name the file.
    """
    place = Path(path)
    if not place.is_file():  # never open a pipe or a device
        raise ValueError("there is no such file")
    if place.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is larger than any model ({place.stat().st_size:,} bytes)")
    try:
        data = json.loads(place.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(data, dict):
        raise ValueError("it holds no JSON object")
    expected = data.pop(SEAL, None)
    if expected is not None and expected != seal(data):
        raise ValueError("it is damaged (its hash differs from its content): copy it again from its source")
    unknown = set(data) - set(known if known is not None else data)
    if unknown:
        raise ValueError(f"it holds unknown values: {min(unknown)[:40]!r}")
    return data


def seal(data: Mapping[str, Any]) -> str:
    """Return the hex SHA-256 of plain JSON values, whatever the order and spacing in which they are written."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that a model may hold")
    return value
