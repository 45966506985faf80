"""The parts of a training step: network, optimizer groups, running average, descriptors of photographs in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from features.global_descriptor.lite_trunk import LITE_NAMES
from features.global_descriptor.network_input import IMAGENET_MEAN, IMAGENET_STD, resize
from features.global_descriptor.networks import Embedder, build_trunk
from features.global_descriptor.precision import cpu_half_precision
from features.global_descriptor.runtime import to_input
from features.training.losses import MarginHead
from features.training.settings import TrainSettings
from features.training.whitening import fold_whitening, whitening_matrix, within_class_covariance
from features.weights import backbone_and_file, weight_file

#: Before the projection.
_DROPOUT = 0.2
#: Steps by which a network's pace is measured.
_TRIED = 4
#: Of the weights that are no biases or norms.
_WEIGHT_DECAY = 0.02


def new_embedder(settings: TrainSettings) -> Embedder:
    """The network as training starts: with the weights that are named, ImageNet's where the package has them."""
    name, file = backbone_and_file(settings.backbone)
    weights = weight_file(name) if name in LITE_NAMES else file
    trunk = build_trunk(name, settings.input_size, settings.frozen_blocks, weights, settings.stages)
    return Embedder(trunk, settings.embedding, _DROPOUT)


def seconds_shown(settings: TrainSettings, photographs: int = 4) -> float:
    """Return what a photograph costs in a step of a training on this machine, in seconds: the quickest of a few steps.

    The first one warms up, and another program that works beside it slows some of the others down.

    Raises:
        SettingsError: the backbone cannot be built.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = new_embedder(settings).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    width, height = settings.input_size
    images = torch.zeros(photographs, 3, height, width, device=device)
    taken = []
    for _ in range(_TRIED):
        started = time.monotonic()
        model(images).sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.monotonic() - started)
    return min(taken) / photographs


def parameter_groups(model: Embedder, head: MarginHead, settings: TrainSettings) -> list[dict[str, Any]]:
    """Four groups: trunk or rest, with weight decay (matrices) or without (biases, norms, powers)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    named = [(f"model.{n}", p) for n, p in model.named_parameters()]
    named += [(f"head.{n}", p) for n, p in head.named_parameters()]
    for name, parameter in named:
        if parameter.requires_grad:
            groups.setdefault((name.startswith("model.trunk."), parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "share": settings.backbone_rate if trunk else 1.0,
            "weight_decay": _WEIGHT_DECAY if decays else 0.0,
        }
        for (trunk, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the running average towards the model: ``average = decay * average + (1 - decay) * model``."""
    for ours, theirs in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if ours.dtype.is_floating_point:
            ours.lerp_(theirs, 1.0 - decay)
        else:
            ours.copy_(theirs)


@torch.no_grad()
def project_pooled(model: Embedder, images: npt.NDArray[np.uint8], size: tuple[int, int], mirror: bool) -> None:
    """Set the projection of an untrained embedder to the principal components of what its trunk gives as it is.

    Args:
        model: changed in place; its neck lets the projection through.
        images: (N, H, W, 3) uint8.
        size: (width, height) of the network's input.
        mirror: use the mirrored photographs too.
    """
    pooled = pooled_numbers(model, images, size)
    if mirror:
        pooled = np.concatenate([pooled, pooled_numbers(model, images[:, :, ::-1], size)])
    mean, variance = pooled.mean(axis=0), pooled.var(axis=0) + 1e-8
    standard = (pooled - mean) / np.sqrt(variance)
    components = np.linalg.svd(standard, full_matrices=False)[2][: model.dim]
    assert model.norm.running_mean is not None
    assert model.norm.running_var is not None
    model.norm.running_mean.copy_(torch.from_numpy(mean))
    model.norm.running_var.copy_(torch.from_numpy(variance))
    model.project.weight.zero_()
    model.project.weight[: len(components)].copy_(torch.from_numpy(components))


def pooled_numbers(model: Embedder, images: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(N, C) pooled numbers of an embedder's trunk for (N, H, W, 3) uint8 photographs, before the projection."""
    parts = list(_answers(lambda batch: model.pooled(model.trunk(batch)), model, images, size, 32))
    return np.concatenate([part.double().cpu().numpy() for part in parts])


def whiten(
    model: Embedder,
    images: npt.NDArray[np.uint8],
    individuals: Sequence[str],
    size: tuple[int, int],
    shrinkage: float,
    mirror: bool = False,
) -> None:
    """Whiten an embedder in place by the covariance within the individuals of (N, H, W, 3) uint8 photographs.

    With ``mirror`` the mirrored photographs are as many other individuals: no side is preferred.
    """
    vectors = embed(model, images, size, normalise=False)
    names = list(individuals)
    if mirror:
        vectors = np.concatenate([vectors, embed(model, images[:, :, ::-1], size, normalise=False)])
        names += [f"mirrored {name}" for name in names]
    matrix = whitening_matrix(within_class_covariance(vectors, names), shrinkage)
    fold_whitening(model, vectors.mean(axis=0), matrix)


def embed(
    model: nn.Module,
    images: npt.NDArray[np.uint8],
    size: tuple[int, int],
    batch: int = 32,
    normalise: bool = True,
) -> npt.NDArray[np.float32]:
    """(N, D) descriptors of (N, H, W, 3) uint8 photographs, resized to ``size``; L2-normalised by default."""
    parts = [
        (nn.functional.normalize(out.float()) if normalise else out.float()).cpu().numpy()
        for out in _answers(model, model, images, size, batch)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


@torch.no_grad()
def _answers(
    compute: Callable[[Tensor], Tensor],
    model: nn.Module,
    images: npt.NDArray[np.uint8],
    size: tuple[int, int],
    batch: int,
) -> Iterator[Tensor]:
    """What ``compute``, a part of ``model`` or all of it, gives for (N, H, W, 3) uint8 photographs, batch by batch."""
    model.eval()
    device = next(model.parameters()).device
    half = device.type == "cuda" or cpu_half_precision(size)
    for start in range(0, len(images), batch):
        small = np.stack([resize(image, size) for image in images[start : start + batch]])
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            answer = compute(to_input(small.astype(np.float32) / 255.0, device))
        yield answer


def model_header(settings: TrainSettings, training: dict[str, Any]) -> dict[str, Any]:
    """The header of a trained model's file: how to build it, how to feed it, how it came to be."""
    name, _ = backbone_and_file(settings.backbone)
    return {
        "backbone": name,
        "start": settings.start,
        "stages": settings.stages,
        "input": settings.input,
        "embedding": settings.embedding,
        "input_size": list(settings.input_size),
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "settings": {**settings.to_dict(), "backbone": name},  # not where its file lay
        "training": training,
    }
