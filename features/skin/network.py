"""The network of the dense skin descriptors: a dense map of small, learned descriptors of an animal's skin.

An ImageNet trunk (EfficientNet-Lite0, up to stride 8) is read at strides 4 and 8, and a light head joins both into one
descriptor for every 4 x 4 pixels. Batch normalisation keeps ImageNet's statistics, so that a descriptor depends on its
own photograph alone, in training too.

Torch is imported when this module is, so import the module only where the network is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.global_descriptor.lite_trunk import LiteTrunk
from features.model_file import ModelFileError, of_kind, read_tensors, reading, restore, stored, write_tensors
from features.weights import weight_file

FORMAT = 1
KIND = "mark descriptors"
BACKBONE = "efficientnet_lite0"
BLOCKS = 5
"""Leading blocks of the trunk: the last of them is at stride 8."""

FINE_BLOCK = 2
"""The last block at stride 4."""


class SkinNetwork(nn.Module):
    """(N, 3, H, W) normalised flattened skin -> (N, dim, H / 4, W / 4) descriptors, not normalised.

    Args:
        dim: numbers per descriptor.
        width: channels of the head.
        frozen_blocks: leading blocks of the trunk that training leaves as ImageNet made them (and the stem).
    """

    def __init__(self, dim: int = 64, width: int = 96, frozen_blocks: int = 1) -> None:
        super().__init__()
        trunk = LiteTrunk(BACKBONE)
        self.dim, self.width, self.frozen_blocks = dim, width, frozen_blocks
        self.stem, self.stem_norm = trunk.stem, trunk.stem_norm
        self.blocks = nn.ModuleList(list(trunk.blocks)[:BLOCKS])
        fine, coarse = 24, 40  # channels of Lite0 at strides 4 and 8
        self.fine = nn.Conv2d(fine, width, 1)
        self.coarse = nn.Conv2d(coarse, width, 1, bias=False)
        self.spread = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.project = nn.Conv2d(width, dim, 1)
        #: Logarithm of the factor on cosines in training's loss.
        self.log_scale = nn.Parameter(torch.tensor(2.5))
        for module in (self.stem, self.stem_norm, *self.blocks[:frozen_blocks]):
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> SkinNetwork:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_blocks == 0):
            x = functional.relu6(self.stem_norm(self.stem(x)))
            for block in self.blocks[: self.frozen_blocks]:
                x = block(x)
        fine = x
        for number, block in enumerate(self.blocks):
            if number < self.frozen_blocks:
                continue
            x = block(x)
            if number == FINE_BLOCK:
                fine = x
        above = functional.interpolate(self.coarse(x), size=fine.shape[2:], mode="bilinear", align_corners=False)
        hidden = functional.relu(self.fine(fine) + above)
        hidden = functional.relu(hidden + self.spread(hidden))
        projected: Tensor = self.project(hidden)
        return projected

    def start_from_imagenet(self) -> None:
        """Load the published ImageNet weights into the trunk; the head stays random."""
        trunk = LiteTrunk(BACKBONE)
        trunk.load_imagenet(weight_file(BACKBONE))
        self.stem.load_state_dict(trunk.stem.state_dict())
        self.stem_norm.load_state_dict(trunk.stem_norm.state_dict())
        for own, published in zip(self.blocks, list(trunk.blocks)[:BLOCKS], strict=True):
            own.load_state_dict(published.state_dict())


def save_skin_network(path: Path, network: SkinNetwork, header: dict[str, Any], half: bool = False) -> None:
    """Write a network with a header that says how to feed it.

    Args:
        header: at least ``input_size`` ([width, height]); anything else is kept.
        half: write float16.
    """
    about = {"format": FORMAT, "kind": KIND, "dim": network.dim, "width": network.width}
    write_tensors(path, stored(network, half), {**header, **about})


def load_skin_network(path: Path) -> tuple[SkinNetwork, dict[str, Any]]:
    """Read a network (evaluation mode, float32, CPU) and its header.

    Raises:
        ModelFileError: not skin descriptors of this project, or of a newer format.
    """
    tensors, header = read_tensors(path)
    of_kind(path, header, KIND, FORMAT, "skin descriptors are")
    with reading(path):
        width, height = (int(side) for side in header["input_size"])
        shape = tuple(tensors["project.weight"].shape[:2])
        if shape != (header["dim"], header["width"]) or not 1 <= min(width, height) <= max(width, height) <= 4096:
            raise ModelFileError(f"{path} does not fit its own header: sizes differ")
        network = SkinNetwork(header["dim"], header["width"])
        restore(network, tensors, path)
    return network.eval(), header
