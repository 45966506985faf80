"""The local features of a photograph as named arrays for the store, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from features.records import Frame, LocalFeatures


def pack_local(features: LocalFeatures) -> dict[str, npt.NDArray[Any]]:
    """Return local features as named arrays for the store."""
    return {
        "xy": features.xy,
        "scores": features.scores,
        "descriptors": features.descriptors,
        "marks": features.marks,
        "body": features.body,
        "frame": np.array([*features.frame.size, features.frame.quarter_turns], np.int64),
    }


def unpack_local(arrays: dict[str, npt.NDArray[Any]], kind: str) -> LocalFeatures:
    """Return the local features that :func:`pack_local` packed."""
    width, height, turns = (int(value) for value in arrays["frame"])
    return LocalFeatures(
        xy=arrays["xy"],
        scores=arrays["scores"],
        descriptors=arrays["descriptors"],
        marks=arrays["marks"],
        body=arrays["body"],
        frame=Frame((width, height), turns),
        kind=kind,
    )
