"""Dense skin descriptors: the animal's skin on a regular grid, each cell described by a network made for marks.

Detectors tuned on buildings find water, outline and ridge, which every animal shares. Here the visible body is covered
evenly instead, and a small network (:mod:`features.skin.network`), trained on this kind of animal, says what the skin
looks like in each cell once the light is taken out. The photograph is brought to one size first, so that a cell of the
grid shows about the same part of every animal.

Torch is imported on first use of a :class:`SkinExtractor`, not with this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from features.global_descriptor.network_input import body_picture, network_picture
from features.records import BoolArray, ByteArray, FloatArray, Frame, LocalFeatures, Photo, Regions
from features.regions import find_regions
from features.weights import file_sha256, find_trained, trained_files
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from features.skin.network import SkinNetwork

#: What :class:`features.records.LocalFeatures` calls them.
KIND = "skin"
CODE_VERSION = 1
"""Part of the fingerprint; raised whenever the same settings and weights would give other numbers."""

#: Pixels of the network's input per cell of its map.
STRIDE = 4

SHIPPED_FOLDER = Path(__file__).parents[1] / "models" / "marks"


@dataclass(frozen=True)
class SkinSettings(Settings):
    """Options of the dense skin descriptors.

    Attributes:
        model: a shipped network ("beluga-marks"), or the path of a trained one (.safetensors, or a training's folder).
        spacing: cells of the network's map (4 pixels each) from one described cell to the next.
        margin: strip inside the body's outline without cells, in pixels of the network's input: the outline looks
            alike on every animal.
        max_cells: at most so many cells; of more, a coarser grid is taken.
    """

    model: str = "beluga-marks"
    spacing: int = 2
    margin: int = 4
    max_cells: int = 1024

    def __post_init__(self) -> None:
        if self.spacing < 1 or self.margin < 0 or self.max_cells < 1:
            raise SettingsError("spacing and max_cells must be at least 1, margin at least 0")


def shipped_skin_models() -> dict[str, Path]:
    """Trained networks that come with the package: name -> file."""
    return trained_files(SHIPPED_FOLDER)


def find_skin_model(name: str) -> Path:
    """Find the weights of a network by name or path.

    Raises:
        SettingsError: no such network; the message lists what there is.
    """
    shipped = shipped_skin_models()
    path = find_trained(name, shipped, "marks.safetensors")
    if path is not None:
        return path
    known = ", ".join(shipped) or "none is shipped"
    raise SettingsError(f"no skin descriptors are called {name!r} and no such file exists; known: {known}")


def skin_picture(
    photo: Photo, frame: Frame, size: tuple[int, int], regions: Regions | None = None
) -> tuple[ByteArray, BoolArray]:
    """Return what the network is shown: flattened skin of one size, and where the body is.

    Args:
        photo: the photograph.
        frame: its turn to the head-up frame.
        size: (width, height) of the result, whatever the photograph's shape.
        regions: body on the photograph's grid; found here if not given.

    Returns:
        (height, width, 3) uint8 and (height, width) bool.
    """
    if regions is None:
        regions = find_regions(photo, frame)
    return network_picture(photo, frame, size, "flattened", regions), body_picture(regions, frame, size) > 127


def grid_cells(body: BoolArray, stride: int, settings: SkinSettings) -> npt.NDArray[np.int64]:
    """Return the (N, 2) cells (row, column) of the map that lie well inside the body, on a regular grid.

    Args:
        body: (H, W) bool on the network's input.
        stride: pixels per cell.
        settings: spacing, margin and limit.
    """
    side = 2 * settings.margin + 1
    # Where the body runs off the picture, its cells at the edge stay: what lies outside counts as body to an erosion.
    inner = cv2.erode(body.astype(np.uint8), np.ones((side, side), np.uint8))
    rows, columns = body.shape[0] // stride, body.shape[1] // stride
    share = cv2.resize(inner * np.uint8(255), (columns, rows), interpolation=cv2.INTER_AREA)
    y, x = np.nonzero(share)
    spacing = settings.spacing
    while True:
        kept = (y % spacing == 0) & (x % spacing == 0)
        if kept.sum() <= settings.max_cells:
            return np.stack([y[kept], x[kept]], 1)
        spacing += 1


class SkinExtractor:
    """Describes the skin of photographs; one instance holds one network."""

    def __init__(self, settings: SkinSettings | None = None, device: str | None = None) -> None:
        self.settings = settings or SkinSettings()
        self._device = device
        self._path = find_skin_model(self.settings.model)

    @cached_property
    def _network(self) -> tuple[SkinNetwork, tuple[int, int]]:
        # Loaded on first use: whoever asks for a fingerprint only needs no network.
        import torch

        # torch
        from features.global_descriptor.runtime import fold_stem_and_blocks
        from features.skin.network import load_skin_network

        network, header = load_skin_network(self._path)
        fold_stem_and_blocks(network)
        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        width, height = header["input_size"]
        return network.to(device, memory_format=torch.channels_last), (width, height)  # type: ignore[call-overload]

    def fingerprint(self) -> str:
        """Settings, weights and code version in one string: part of the cache key."""
        options = self.settings.replace(model="").fingerprint()
        return f"{options}-{file_sha256(self._path)[:16]}-{CODE_VERSION}"

    def extract(self, photo: Photo, frame: Frame, regions: Regions | None = None) -> LocalFeatures:
        """Describe the skin of one photograph.

        Args:
            photo: the photograph.
            frame: its turn to the canonical frame.
            regions: body and mark regions on the photograph's grid; found here if not given.

        Returns:
            Local features in rows from head to tail; empty (never an error) where no body is seen.
        """
        network, size = self._network
        if regions is None:
            regions = find_regions(photo, frame)
        picture, body = skin_picture(photo, frame, size, regions)
        cells = grid_cells(body, STRIDE, self.settings)
        xy = cells_to_photo(cells, frame, size)
        row = np.clip(np.rint(xy[:, 1]).astype(int), 0, photo.size[1] - 1)
        column = np.clip(np.rint(xy[:, 0]).astype(int), 0, photo.size[0] - 1)
        marks, certainty = regions.marks[row, column], regions.body[row, column]
        return LocalFeatures(
            xy=np.ascontiguousarray(xy, np.float32),
            scores=np.ones(len(cells), np.float32),
            descriptors=describe_cells(network, picture, cells),
            marks=np.ascontiguousarray(marks, np.float32),
            body=np.ascontiguousarray(certainty, np.float32),
            frame=frame,
            kind=KIND,
        )


def describe_cells(network: SkinNetwork, picture: ByteArray, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """Return the (N, D) unit descriptors of cells of a (height, width, 3) picture of flattened skin."""
    import torch

    # torch
    from features.global_descriptor.runtime import to_input

    if not len(cells):
        return np.zeros((0, network.dim), np.float16)
    batch = to_input(picture[None].astype(np.float32) / 255.0, next(network.parameters()).device)
    with torch.inference_mode():
        feature_map: FloatArray = network(batch)[0].float().cpu().numpy()
    descriptors = feature_map[:, cells[:, 0], cells[:, 1]].T
    lengths = np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    return np.ascontiguousarray(descriptors / lengths, np.float16)


def cell_centres(cells: npt.NDArray[np.int64], stride: int) -> FloatArray:
    """Return the (N, 2) pixels (x, y) of the input at the middle of cells (row, column); centres are at integers."""
    return (cells[:, ::-1] * stride + (stride - 1) / 2).astype(np.float32)


def cells_to_photo(cells: npt.NDArray[np.int64], frame: Frame, size: tuple[int, int]) -> FloatArray:
    """Return the (N, 2) original pixels at the middle of cells (row, column) of an input of (width, height)."""
    share = np.asarray(frame.canonical_size, np.float32) / np.array(size, np.float32)
    # Pixel centres are at integers, so a resize by s maps x to (x + 0.5) s - 0.5.
    return frame.to_original((cell_centres(cells, STRIDE) + np.float32(0.5)) * share - 0.5)
