"""The networks of the global descriptor: a trunk with two stages, generalised-mean pooling, an embedding neck.

Torch is imported with this module.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from features.global_descriptor.lite_trunk import LITE_NAMES, LiteTrunk
from features.global_descriptor.timm_trunk import TimmTrunk
from scarmatch.settings import SettingsError


class GeneralisedMean(nn.Module):
    """Generalised-mean pooling over the positions of a feature map, (N, C, H, W) -> (N, C).

    ``mean(max(x, eps) ** p) ** (1 / p)`` with a trainable power p: 1 is the mean, large p nears the maximum
    (Radenovic, Tolias, Chum 2018). The power is always taken in float32: half precision is slow and loses the tail.
    """

    def __init__(self, power: float = 3.0, eps: float = 1e-6, trainable: bool = True) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(float(power)), requires_grad=trainable)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            raised = x.float().clamp(min=self.eps).pow(self.power)
            return raised.mean(dim=(2, 3)).pow(1.0 / self.power)


class BasicTrunk(nn.Module):
    """A plain convolutional network of five strided layers: the simple baseline, also quick enough for tests."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in itertools.pairwise(sizes)
        )
        self.channels = (sizes[-2], sizes[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = x
        for layer in self.layers:
            middle, x = x, layer(x)
        return middle, x


def build_trunk(
    name: str,
    input_size: tuple[int, int] = (144, 384),
    frozen_blocks: int = 0,
    weights: Path | None = None,
    stages: str = "late",
) -> nn.Module:
    """Build a backbone by name: efficientnet_lite0..2, basic_cnn, or any backbone of timm.

    ``weights`` is a file of ImageNet weights (of the Lite networks, or in timm's layout); None starts at random.
    ``stages`` says which maps of a Lite network are used (:class:`LiteTrunk`).

    Raises:
        SettingsError: no such backbone, timm is missing, or the backbone has no blocks to freeze or no middle stages.
    """
    if name in LITE_NAMES:
        trunk = LiteTrunk(name, frozen_blocks, stages)
        if weights is not None:
            trunk.load_imagenet(weights)
        return trunk
    if frozen_blocks or stages != "late":
        raise SettingsError(f"frozen_blocks and stages work for {', '.join(LITE_NAMES)} only, not for {name!r}")
    if name == "basic_cnn":
        return BasicTrunk()
    return TimmTrunk(name, weights, input_size)


class PlainEmbedder(nn.Module):
    """A trunk with generalised-mean pooling of its last stage and nothing trained on top: (N, 3, H, W) -> (N, C)."""

    def __init__(self, trunk: nn.Module, power: float = 3.0) -> None:
        super().__init__()
        self.trunk = trunk
        self.pool = GeneralisedMean(power, trainable=False)
        self.dim = int(trunk.channels[-1])  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.trunk(x)[1])


class Embedder(nn.Module):
    """A trunk whose stages are pooled, normalised and projected: (N, 3, H, W) -> (N, dim), not normalised.

    Each stage has its own generalised mean (of both signs, where the trunk says so), strips of a map share another; all
    are concatenated, batch-normalised, projected linearly and pass a last batch normalisation, the neck, in which
    cosines are compared.
    """

    def __init__(self, trunk: nn.Module, dim: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        channels: Sequence[int] = trunk.channels  # type: ignore[assignment]
        self.trunk = trunk
        self.signed: tuple[bool, ...] = getattr(trunk, "signed", (False,) * len(channels))
        self.strips: tuple[int, ...] = getattr(trunk, "strips", (0,) * len(channels))
        self.pools = nn.ModuleList(GeneralisedMean() for _ in channels)
        if any(self.strips):
            self.strip_pool = GeneralisedMean()
        pooled = sum(
            n * (2 if signed else 1) * (1 + strips)
            for n, signed, strips in zip(channels, self.signed, self.strips, strict=True)
        )
        self.norm = nn.BatchNorm1d(pooled)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(pooled, dim, bias=False)
        self.neck = nn.BatchNorm1d(dim)
        self.dim = dim

    def pooled(self, maps: Sequence[Tensor]) -> Tensor:
        """(N, C) pooled numbers of the trunk's maps, all stages together."""
        parts = []
        for pool, one, signed, strips in zip(self.pools, maps, self.signed, self.strips, strict=True):
            views = [(pool, one)]
            if strips:
                views += [(self.strip_pool, strip) for strip in torch.tensor_split(one, strips, dim=2)]
            for mean, view in views:
                parts += [mean(view), mean(-view)] if signed else [mean(view)]
        return torch.cat(parts, dim=1)

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """(N, dim) descriptors of the trunk's maps, not normalised."""
        pooled = self.pooled(maps)
        with torch.autocast(pooled.device.type, enabled=False):
            return self.neck(self.project(self.dropout(self.norm(pooled))))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(self.trunk(x))
