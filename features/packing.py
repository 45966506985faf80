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
        "frame": _packed(features.frame),
    }


def unpack_local(arrays: dict[str, npt.NDArray[Any]], kind: str) -> LocalFeatures:
    """Return the local features that :func:`pack_local` packed."""
    return LocalFeatures(
        xy=arrays["xy"],
        scores=arrays["scores"],
        descriptors=arrays["descriptors"],
        marks=arrays["marks"],
        body=arrays["body"],
        frame=_unpacked(arrays["frame"]),
        kind=kind,
    )


def _packed(frame: Frame) -> npt.NDArray[Any]:
    """Return a frame's size and quarter turns, and its angle where it is at one."""
    whole = (*frame.size, frame.quarter_turns)
    return np.array([*whole, frame.degrees], np.float64) if frame.degrees else np.array(whole, np.int64)


def _unpacked(values: npt.NDArray[Any]) -> Frame:
    width, height, turns, *degrees = values.tolist()
    return Frame((int(width), int(height)), int(turns), *degrees)
