"""ALIKED with its dense maps computed only where they are read: the same numbers, a fraction of the memory traffic.

ALIKED (Zhao et al., IEEE TIM 2023) brings four feature maps to full resolution, joins them into 128 channels, and reads
the joint map at a few hundred keypoints. Bilinear enlargement and 1 x 1 convolutions commute, so that

* the score head's first layer is applied to each small map before it is enlarged (8 channels instead of 128), and
* descriptors read the small maps directly at the pixels they need.

Detection and description are two calls, so that keypoints which a mask drops are never described. On a CPU the
activations and the reading are compiled (:mod:`features.keypoints.aliked_kernels`): 2.5 and 8 times as fast as torch's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from kornia.feature.aliked.aliked import DeformableConv2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from features.keypoints import aliked_kernels
from features.records import FloatArray

if TYPE_CHECKING:
    from kornia.feature import ALIKED

_SHRINK = 32


@dataclass(frozen=True, eq=False)
class Maps:
    """The four feature maps of one photograph, each (1, C/4, h, w), of the padded image (H, W) shifted by (x, y)."""

    parts: tuple[Tensor, ...]
    padded: tuple[int, int]
    shift: tuple[int, int]
    size: tuple[int, int]

    @cached_property
    def channels_last(self) -> tuple[FloatArray, ...]:
        """The maps as (h, w, C/4) arrays on the CPU."""
        return tuple(_channels_last(part) for part in self.parts)


class CompiledSelu(nn.Module):
    """SELU in place; compiled on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to a tensor of any shape and return the same tensor."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or not x.is_contiguous():
            return F.selu(x, inplace=True)
        aliked_kernels.selu(x.detach().view(-1).numpy())
        return x


class CompiledDeformable(nn.Module):
    """A deformable 3 x 3 convolution of kornia's, its sampling compiled on a CPU."""

    def __init__(self, plain: DeformableConv2d) -> None:
        super().__init__()
        self.plain = plain
        weight: Tensor = plain.regular_conv.weight.detach()
        # (out, C, 3, 3) -> (9 * C, out), in the order of `aliked_kernels.deformed_patches`.
        self._weight = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0]).contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Return the (1, out, h, w) convolution of a (1, C, h, w) map."""
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return self.plain(x)
        height, width = x.shape[-2:]
        offset = self.plain.offset_conv(x)[0].numpy()
        patches = torch.from_numpy(aliked_kernels.deformed_patches(_channels_last(x), offset, max(height, width) / 4.0))
        found = patches @ self._weight
        if self.plain.regular_conv.bias is not None:
            found = found + self.plain.regular_conv.bias
        return found.view(1, height, width, -1).permute(0, 3, 1, 2).contiguous()


class SparseAliked:
    """Inference with a loaded kornia ALIKED (its layers are taken over, batch normalisation folded where possible)."""

    def __init__(self, network: ALIKED) -> None:
        self.network = network.eval()
        for block in (network.block1, network.block2):
            for name in ("1", "2"):
                conv, norm = getattr(block, f"conv{name}"), getattr(block, f"bn{name}")
                setattr(block, f"conv{name}", fuse_conv_bn_eval(conv, norm))
                setattr(block, f"bn{name}", nn.Identity())
        self.activation = CompiledSelu()
        _compile(self.network)

    @torch.inference_mode()
    def detect(self, image: Tensor, limit: int) -> tuple[Tensor, Tensor, Maps]:
        """Find keypoints.

        Args:
            image: (1, 3, h, w) float32 in [0, 1].
            limit: at most so many keypoints, the best by score.

        Returns:
            (N, 2) pixels, (N,) scores, and the maps for :meth:`describe`.
        """
        height, width = image.shape[-2:]
        extra_y, extra_x = -height % _SHRINK, -width % _SHRINK
        left, top = extra_x // 2, extra_y // 2
        padded = F.pad(image, (left, extra_x - left, top, extra_y - top), mode="replicate")
        maps = Maps(self._maps(padded), (height + extra_y, width + extra_x), (left, top), (height, width))
        scores = self._scores(maps)[..., top : top + height, left : left + width]
        self.network.dkd.top_k = limit
        points, values, _ = self.network.dkd(scores.contiguous())
        scale = torch.tensor([width - 1, height - 1], dtype=torch.float32, device=image.device)
        return scale * (points[0] + 1) / 2, values[0], maps

    def _maps(self, image: Tensor) -> tuple[Tensor, ...]:
        n = self.network
        x1 = n.block1(image)
        x2 = n.block2(n.pool2(x1))
        x3 = n.block3(n.pool4(x2))
        x4 = n.block4(n.pool4(x3))
        return tuple(n.gate(conv(x)) for conv, x in ((n.conv1, x1), (n.conv2, x2), (n.conv3, x3), (n.conv4, x4)))

    def _scores(self, maps: Maps) -> Tensor:
        """Return the (1, 1, H, W) score map in (0, 1) of the padded image."""
        head = self.network.score_head
        first: nn.Conv2d = head[0]
        total: Tensor | None = None
        for part, weight in zip(maps.parts, first.weight.chunk(4, 1), strict=True):
            small = F.conv2d(part, weight)
            if small.shape[-2:] != maps.padded:
                small = F.interpolate(small, maps.padded, mode="bilinear", align_corners=True)
            total = small if total is None else total + small
        assert total is not None
        if first.bias is not None:
            total = total + first.bias[:, None, None]
        for layer in head[1:]:
            total = layer(total)
        return torch.sigmoid(total)

    @torch.inference_mode()
    def describe(self, maps: Maps, points: Tensor) -> Tensor:
        """Return the (N, D) float32 unit descriptors of (N, 2) keypoints in pixels of the image given to ``detect``."""
        head = self.network.desc_head
        count, height, width = len(points), *maps.size
        if not count:
            return torch.zeros((0, self.network.conv1.out_channels * 4), device=points.device)
        side = head.kernel_size
        corner = (points.long().float() - side / 2 + 1).long()
        corner[:, 0].clamp_(0, width - 1 - side)
        corner[:, 1].clamp_(0, height - 1 - side)
        grid = torch.arange(side, device=points.device)
        y, x = torch.meshgrid(grid, grid, indexing="ij")
        pixels = corner[:, None] + torch.stack([x, y], -1).view(1, -1, 2)
        patch = self._read(maps, pixels.view(-1, 2)).view(count, side, side, -1).permute(0, 3, 1, 2)
        reach = max(height, width) / 4.0
        offset = head.offset_conv(patch).clamp(-reach, reach)[:, :, 0, 0].view(count, 2, head.n_pos).permute(0, 2, 1)
        read = self._read_between(maps, (points[:, None] + offset).reshape(-1, 2)).view(count, head.n_pos, -1)
        read = self.activation(F.linear(read, head.sf_conv.weight[:, :, 0, 0]))
        return F.normalize(torch.einsum("npc,pcd->nd", read, head.agg_weights), dim=1)

    def _read(self, maps: Maps, pixels: Tensor) -> Tensor:
        """Return the (N, D) unit features at whole pixels of the unpadded image."""
        if pixels.device.type == "cpu":
            found = aliked_kernels.read_pixels(*maps.channels_last, pixels.numpy(), maps.shift, maps.padded)
            return torch.from_numpy(found)
        return self._read_by_torch(maps, pixels)

    def _read_by_torch(self, maps: Maps, pixels: Tensor) -> Tensor:
        height, width = maps.padded
        shift = torch.tensor(maps.shift, device=pixels.device)
        scale = torch.tensor([width - 1, height - 1], dtype=torch.float32, device=pixels.device)
        grid = (2.0 * (pixels + shift) / scale - 1.0).view(1, 1, -1, 2)
        parts = [
            F.grid_sample(part, grid, mode="bilinear", padding_mode="border", align_corners=True)[0, :, 0]
            for part in maps.parts
        ]
        return F.normalize(torch.cat(parts).T, dim=1)

    def _read_between(self, maps: Maps, positions: Tensor) -> Tensor:
        """Return the (N, D) features between pixels: bilinear over the four around, zero outside the image."""
        if positions.device.type == "cpu":
            where = positions.contiguous().numpy()
            found = aliked_kernels.read_between(*maps.channels_last, where, maps.shift, maps.padded, maps.size)
            return torch.from_numpy(found)
        return self._read_between_by_torch(maps, positions)

    def _read_between_by_torch(self, maps: Maps, positions: Tensor) -> Tensor:
        height, width = maps.size
        base = positions.floor()
        part = positions - base
        total: Tensor | None = None
        for dx in (0, 1):
            for dy in (0, 1):
                pixel = base.long() + torch.tensor([dx, dy], device=base.device)
                inside = (pixel[:, 0] >= 0) & (pixel[:, 1] >= 0) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
                weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
                limit = torch.tensor([width - 1, height - 1], device=base.device)
                value = self._read_by_torch(maps, torch.minimum(pixel.clamp(min=0), limit))
                value = value * (weight * inside)[:, None]
                total = value if total is None else total + value
        assert total is not None
        return total


def _channels_last(x: Tensor) -> FloatArray:
    """Return a (1, C, h, w) tensor on the CPU as an (h, w, C) array (twice as fast as permuting three dimensions)."""
    found: FloatArray = x[0].flatten(1).T.contiguous().numpy().reshape(*x.shape[2:], -1)
    return found


def _compile(module: nn.Module) -> None:
    """Replace what is compiled inside a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.SELU):
            setattr(module, name, CompiledSelu())
        elif isinstance(child, DeformableConv2d) and child.stride == 1 and child.padding == 1 and not child.mask:
            setattr(module, name, CompiledDeformable(child))
        else:
            _compile(child)
