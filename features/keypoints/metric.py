"""A learned metric for keypoint descriptors: one matrix, after which dot products say how alike two pieces of skin are.

A detector's descriptors were trained on buildings and landscapes. A linear map, fitted on keypoints in which
photographs of one individual agree (``scarmatch train-keypoints``), keeps what lasts from one photograph of an animal
to the next and drops what light, water and camera make of it. It costs one small product a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.model_header import ModelFileError, of_kind, read_header, reading
from features.records import FloatArray
from features.weights import check_shipped, file_sha256, find_trained, trained_files
from scarmatch.errors import ScarmatchError
from scarmatch.settings import SettingsError

KIND = "keypoint metric"
_IS = "a metric of keypoints is"
FORMAT = 1
SHIPPED_FOLDER = Path(__file__).parents[1] / "models" / "keypoints"
MODEL_NAME = "keypoints.safetensors"
#: Keypoint kind -> the shipped metric that "auto" takes.
DEFAULTS = {"aliked": "beluga-keypoints"}
#: Words of ``mutual_nn.metric`` that name no model: the shipped one for the keypoints, and none.
AUTO, NONE = "auto", "none"


class KeypointMetricError(ScarmatchError, ValueError):
    """A file holds no metric, or one for other keypoints; the message names it."""


@dataclass(frozen=True, eq=False)
class KeypointMetric:
    """One matrix and what it was made for.

    Attributes:
        matrix: (D, E) float32; a descriptor d becomes d @ matrix, brought to length 1.
        keypoints: kind of the keypoints, e.g. "aliked".
        about: what it was trained on.
    """

    matrix: FloatArray
    keypoints: str
    about: dict[str, Any]

    def apply(self, descriptors: npt.NDArray[np.floating]) -> FloatArray:
        """Return (N, E) float32 unit vectors of (N, D) descriptors.

        Raises:
            KeypointMetricError: the descriptors have another length.
        """
        import torch

        if descriptors.shape[1] != len(self.matrix):
            raise KeypointMetricError(
                f"the metric is for descriptors of {len(self.matrix)} numbers, not of {descriptors.shape[1]}"
            )
        # By torch, whose threads the worker processes keep to one; NumPy's would go their own way.
        mapped = (torch.from_numpy(np.array(descriptors, np.float32)) @ self._tensor).numpy()
        return mapped / np.maximum(np.linalg.norm(mapped, axis=1, keepdims=True), np.float32(1e-9))

    @cached_property
    def _tensor(self) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(self.matrix))

    def save(self, path: Path) -> None:
        """Write the metric in half precision."""
        import torch

        # torch
        from features.model_file import write_tensors

        header = {"kind": KIND, "format": FORMAT, "keypoints": self.keypoints, "training": self.about}
        write_tensors(path, {"matrix": torch.from_numpy(self.matrix).half()}, header)

    @classmethod
    def load(cls, path: Path) -> KeypointMetric:
        """Read what :meth:`save` wrote.

        Raises:
            KeypointMetricError: not such a file.
        """
        # torch
        from features.model_file import read_tensors

        try:
            tensors, header = read_tensors(path)
            of_kind(path, header, KIND, FORMAT, _IS)
            with reading(path):
                matrix = tensors["matrix"].float().numpy()
                if matrix.ndim != 2 or not matrix.size or not isinstance(header["keypoints"], str):
                    raise ModelFileError(f"{path} does not fit its own header: it holds no matrix for keypoints")
                return cls(matrix, header["keypoints"], dict(header.get("training", {})))
        except ModelFileError as error:
            raise KeypointMetricError(str(error)) from error


def shipped_metrics() -> dict[str, Path]:
    """Metrics that come with the package: name -> file."""
    return trained_files(SHIPPED_FOLDER)


def find_metric(name: str, keypoints: str) -> Path | None:
    """Return the file of a metric for keypoints of a kind; None where none is wanted, or "auto" has none for them.

    Args:
        name: "auto", "none", a shipped metric's name, a file, or a training's folder.
        keypoints: kind of the keypoints.

    Raises:
        SettingsError: no such metric; the message lists what there is.
    """
    shipped = shipped_metrics()
    if name == AUTO:
        return shipped.get(DEFAULTS.get(keypoints, ""))
    if name == NONE:
        return None
    path = find_trained(name, shipped, MODEL_NAME)
    if path is not None:
        return path
    known = ", ".join(shipped) or "none is shipped"
    raise SettingsError(
        f"no keypoint metric is called {name!r} and no such file exists; known: {AUTO}, {NONE}, {known}"
    )


def load_metric(name: str, keypoints: str) -> tuple[KeypointMetric | None, str]:
    """Return the metric of :func:`find_metric` and a text that changes whenever its numbers could.

    Raises:
        SettingsError: no such metric.
        KeypointMetricError: the file holds none, or one for other keypoints.
    """
    path = find_metric(name, keypoints)
    if path is None:
        return None, NONE
    metric = KeypointMetric.load(path)
    if metric.keypoints != keypoints:
        raise KeypointMetricError(
            f"{path} is a metric for {metric.keypoints!r} keypoints, not {keypoints!r}: "
            "choose another with --set mutual_nn.metric=..., or none"
        )
    return metric, _print(path)


def metric_print(name: str, keypoints: str) -> str:
    """Return the text of :func:`load_metric` by the file's header alone, without torch.

    Raises:
        SettingsError: no such metric.
        KeypointMetricError: the file holds none, or one for other keypoints.
        WeightsError: it ships, and is not what was shipped.
    """
    path = find_metric(name, keypoints)
    if path is None:
        return NONE
    check_shipped(path)
    try:
        header = read_header(path)
        of_kind(path, header, KIND, FORMAT, _IS)
    except ModelFileError as error:
        raise KeypointMetricError(str(error)) from error
    if header.get("keypoints") != keypoints:
        load_metric(name, keypoints)  # which says what is wrong
    return _print(path)


def _print(path: Path) -> str:
    return file_sha256(path)[:16]
