"""The global descriptor: one vector per photograph, by which the likely matches are found first.

A photograph becomes what its network is shown (:mod:`features.global_descriptor.network_input`: colours, or skin with
the light taken out), and the network's pooled features become a unit vector. With ``mirror`` the flipped photograph is
described too and both vectors are concatenated, so that a cosine is the mean of two.

Torch is imported on first use of a :class:`GlobalDescriptor`, not with this module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from features.global_descriptor.network_input import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    network_picture,
    prepared_size,
    resize,
)
from features.global_descriptor.precision import cpu_half_precision
from features.hardware import surely_the_processor
from features.model_header import FORMAT, of_kind, read_header, reading
from features.records import FloatArray, Frame, Photo, Regions
from features.regions import find_regions
from features.weights import backbone_and_file, check_shipped, file_sha256, trained_files, weight_file
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from torch import nn

    from features.global_descriptor.runtime import Runtime

CODE_VERSION = "1"
"""Part of the fingerprint; raised whenever the same settings and weights would give other numbers."""

SHIPPED_FOLDER = Path(__file__).parents[1] / "models"
ALIASES = {"beluga": ("beluga-lite0", "beluga-skin")}
"""Short names of shipped models that are used together."""
IMAGENET_NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
IMAGENET_SIZE = (144, 384)


def shipped_models() -> dict[str, Path]:
    """Trained descriptors that come with the package: name -> file."""
    return trained_files(SHIPPED_FOLDER)


def default_model() -> str:
    """ "beluga" where its weights are shipped, otherwise the ImageNet network."""
    return "beluga" if shipped_models().keys() >= set(ALIASES["beluga"]) else IMAGENET_NAMES[0]


@dataclass(frozen=True)
class GlobalSettings(Settings):
    """Options of the global descriptor.

    Attributes:
        model: a shipped model ("beluga"), an ImageNet network ("efficientnet_lite0" .. "2"), the path of a trained
            model (.safetensors, or the folder of a training), "timm:NAME@WEIGHTS" for a backbone of timm with a file of
            weights, or several of them separated by commas (their vectors are concatenated).
        input_size: (width, height) of the network's input; None takes what the model was trained on.
        batch: photographs per step; changes nothing but time.
        mirror: describe the flipped photograph too (doubles the time and the vector).
        runtime: "torch", or "openvino" (extra; CPU only).
        precision: "fp32", "bf16", or "auto": bf16 where the hardware multiplies it.
    """

    model: str = field(default_factory=default_model)
    input_size: tuple[int, int] | None = None
    batch: int = 4
    mirror: bool = True
    runtime: str = "torch"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.input_size is not None:
            object.__setattr__(self, "input_size", tuple(int(v) for v in self.input_size))
            if len(self.input_size) != 2 or min(self.input_size) < 32:
                raise SettingsError(f"input_size must be (width, height), both 32 or more, not {self.input_size}")
        if self.batch < 1:
            raise SettingsError(f"batch must be at least 1, not {self.batch}")
        for name, allowed in (("runtime", ("torch", "openvino")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}")


@dataclass(frozen=True)
class ModelSource:
    """Where the weights of one model come from.

    Attributes:
        name: as in the settings.
        kind: "imagenet", "trained" or "timm".
        path: the file of weights.
        backbone: the network's name ("" for trained models, whose file says it).
    """

    name: str
    kind: str
    path: Path
    backbone: str = ""


def find_model(name: str) -> ModelSource:
    """Find the weights of one model by name or path.

    Raises:
        SettingsError: no such model; the message lists what there is.
        WeightsError: an ImageNet network whose package is not installed.
    """
    if name in IMAGENET_NAMES:
        return ModelSource(name, "imagenet", weight_file(name), name)
    if name.startswith("timm:"):
        backbone, file = backbone_and_file(name.removeprefix("timm:"))
        if file is None:
            raise SettingsError(f"{name!r} must be timm:NAME@WEIGHTS, a file of weights: nothing is downloaded")
        return ModelSource(name, "timm", file, backbone)
    shipped = shipped_models()
    if name in shipped:
        return ModelSource(name, "trained", shipped[name])
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"
    if path.is_file():
        return ModelSource(name, "trained", path)
    known = ", ".join([*ALIASES, *sorted(shipped), *IMAGENET_NAMES])
    raise SettingsError(f"no descriptor is called {name!r} and no such file exists; known: {known}")


def find_models(names: str) -> list[ModelSource]:
    """Find every model of a comma-separated list of models and aliases (see :func:`find_model`)."""
    parts = [part.strip() for part in names.split(",") if part.strip()]
    if not parts:
        raise SettingsError("model names no descriptor")
    return [find_model(name) for part in parts for name in ALIASES.get(part, (part,))]


def same_descriptor(names0: str, names1: str) -> bool:
    """Say whether two lists of models name the same ones: by an alias or one by one, by a file or its name."""
    spelled = []
    for names in (names0, names1):
        parts = [part.strip() for part in names.split(",") if part.strip()]
        each = [name for part in parts for name in ALIASES.get(part, (part,))]
        spelled.append([Path(name).stem if name.endswith(".safetensors") else name for name in each])
    return spelled[0] == spelled[1]


def prepare(
    photo: Photo,
    frame: Frame,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    kind: str = "colour",
    regions: Regions | None = None,
) -> FloatArray:
    """(3, height, width) float32: what the network is shown, its colours normalised by mean and std.

    Args:
        photo: the photograph.
        frame: its turn to the head-up frame.
        size: (width, height) of the network's input.
        mean: of each channel, for values in [0, 1].
        std: of each channel.
        kind: one of :data:`features.global_descriptor.network_input.INPUT_KINDS`.
        regions: body and marks, where they are known already.
    """
    if kind == "colour":
        picture = network_picture(photo, frame, size)
    else:
        # Flattening acts on the larger picture, as in training.
        picture = resize(network_picture(photo, frame, prepared_size(size), kind, regions), size)
    normalised = (picture.astype(np.float32) / 255.0 - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1), np.float32)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Divide each row by its Euclidean length (a row of zeros stays)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


@dataclass(frozen=True, eq=False)
class _Network:
    """One loaded model: how to run it and how to feed it."""

    runtime: Runtime
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    dim: int
    precision: str
    kind: str = "colour"


class GlobalDescriptor:
    """Describes photographs by unit vectors whose dot product is their similarity.

    Args:
        settings: which model, and how to run it.
        device: "cpu", "cuda", or None to choose.

    Raises:
        SettingsError: the model or an option does not exist, or its library is not installed.
        ModelFileError: a file of weights is not one of this project's.
    """

    def __init__(self, settings: GlobalSettings | None = None, device: str | None = None) -> None:
        # torch
        from features.global_descriptor.runtime import choose_device

        self.settings = settings or GlobalSettings()
        self.sources = find_models(self.settings.model)
        self.device = choose_device("cpu" if self.settings.runtime == "openvino" else device)
        self._networks = [self._load(source) for source in self.sources]

    @classmethod
    def from_settings(cls, settings: GlobalSettings | None = None, device: str | None = None) -> Self:
        """Load the models that the settings name."""
        return cls(settings, device)

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return sum(network.dim for network in self._networks) * (2 if self.settings.mirror else 1)

    @property
    def precisions(self) -> list[str]:
        """The numbers each model computes in: "fp32" or "bf16"."""
        return [network.precision for network in self._networks]

    @property
    def needs_regions(self) -> bool:
        """True if a network is shown the body alone: regions that are known already save their computation."""
        return any(network.kind != "colour" for network in self._networks)

    def fingerprint(self) -> str:
        """16 hex digits that change with weights, options that change numbers, precision and code version."""
        return _fingerprint(self.settings, self.sources, [network.size for network in self._networks], self.precisions)

    def describe(
        self, photos: Sequence[Photo], frames: Sequence[Frame], regions: Sequence[Regions] | None = None
    ) -> FloatArray:
        """Describe photographs.

        Args:
            photos: N photographs.
            frames: for each, the turn to its head-up frame.
            regions: for each, body and marks; found here where a network needs them and they are not given.

        Returns:
            (N, dim) float32, rows of length 1; (0, dim) for no photographs.
        """
        if len(photos) != len(frames):
            raise ValueError(f"{len(photos)} photographs, but {len(frames)} frames")
        if regions is None and self.needs_regions:
            regions = [find_regions(photo, frame) for photo, frame in zip(photos, frames, strict=True)]
        parts = []
        for start in range(0, len(photos), self.settings.batch):
            chosen = slice(start, start + self.settings.batch)
            known = regions[chosen] if regions is not None else [None] * len(photos[chosen])
            parts.append(self._describe_batch(photos[chosen], frames[chosen], known))
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def _describe_batch(
        self, photos: Sequence[Photo], frames: Sequence[Frame], regions: Sequence[Regions | None]
    ) -> FloatArray:
        vectors = []
        for network in self._networks:
            ready = [
                prepare(p, f, network.size, network.mean, network.std, network.kind, r)
                for p, f, r in zip(photos, frames, regions, strict=True)
            ]
            images = np.stack(ready)
            vectors.append(unit_rows(network.runtime(images)))
            if self.settings.mirror:
                vectors.append(unit_rows(network.runtime(np.ascontiguousarray(images[:, :, :, ::-1]))))
        return unit_rows(np.concatenate(vectors, axis=1))

    def _load(self, source: ModelSource) -> _Network:
        # torch
        from features.global_descriptor.runtime import OpenVinoRuntime, TorchRuntime, choose_precision

        network, header = load_network(source, self.settings.input_size)
        size = self.settings.input_size or tuple(header["input_size"])
        precision = choose_precision(self.settings.precision, self.device, size)
        runtime: Runtime
        if self.settings.runtime == "openvino":
            runtime = OpenVinoRuntime(network, size, precision)
        else:
            runtime = TorchRuntime(network, self.device, precision)
        mean, std = tuple(header.get("mean", IMAGENET_MEAN)), tuple(header.get("std", IMAGENET_STD))
        kind = header.get("input", "colour")
        return _Network(runtime, size, mean, std, int(network.dim), precision, kind)  # type: ignore[arg-type]


def fingerprint_of(settings: GlobalSettings, device: str | None = None) -> str:
    """Return what the :meth:`GlobalDescriptor.fingerprint` of these settings will be; no network is loaded.

    Raises:
        SettingsError: the model or an option does not exist, or its library is not installed.
        ModelFileError: a file of weights is not one of this project's.
        WeightsError: a file that ships is not what was shipped.
    """
    sources = find_models(settings.model)
    if settings.runtime != "torch" or any(source.kind == "timm" for source in sources):
        return GlobalDescriptor(settings, device).fingerprint()  # libraries that may not be installed
    sizes = [settings.input_size or _own_size(source) for source in sources]
    return _fingerprint(settings, sources, sizes, _precisions(settings, sizes, device))


def _precisions(settings: GlobalSettings, sizes: Sequence[tuple[int, int]], device: str | None) -> list[str]:
    """Return in what numbers networks of these sizes will compute; torch is imported where only it knows."""
    if settings.precision != "auto":
        return [settings.precision] * len(sizes)
    if surely_the_processor(device):
        return ["bf16" if cpu_half_precision(size) else "fp32" for size in sizes]
    # torch
    from features.global_descriptor.runtime import choose_device, choose_precision

    where = choose_device(device)
    return [choose_precision(settings.precision, where, size) for size in sizes]


def _own_size(source: ModelSource) -> tuple[int, int]:
    """Return the (width, height) of the pictures that a model was trained on."""
    if source.kind != "trained":
        return IMAGENET_SIZE
    check_shipped(source.path)
    header = read_header(source.path)
    of_kind(source.path, header, "embedder", FORMAT, "a descriptor is")
    with reading(source.path):
        width, height = (int(side) for side in header["input_size"])
        return width, height


def _fingerprint(
    settings: GlobalSettings,
    sources: Sequence[ModelSource],
    sizes: Sequence[tuple[int, int]],
    precisions: Sequence[str],
) -> str:
    parts: dict[str, Any] = {
        "code": CODE_VERSION,
        "weights": [[source.kind, source.backbone, file_sha256(source.path)] for source in sources],
        "sizes": sizes,
        "mirror": settings.mirror,
        "runtime": settings.runtime,
        "precision": precisions,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def load_network(source: ModelSource, input_size: tuple[int, int] | None) -> tuple[nn.Module, dict[str, Any]]:
    """Build a model's network (float32, CPU, evaluation mode) and tell how to feed it (input_size, mean, std)."""
    # torch
    from features.global_descriptor.lite_trunk import LiteTrunk
    from features.global_descriptor.networks import PlainEmbedder
    from features.global_descriptor.timm_trunk import TimmTrunk
    from features.model_file import load_embedder

    if source.kind == "trained":
        return load_embedder(source.path)
    size = input_size or IMAGENET_SIZE
    if source.kind == "timm":
        return PlainEmbedder(TimmTrunk(source.backbone, source.path, size)).eval(), {"input_size": size}
    trunk = LiteTrunk(source.backbone)
    trunk.load_imagenet(source.path)
    return PlainEmbedder(trunk).eval(), {"input_size": size}
