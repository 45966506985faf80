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


#: Channels of Lite0 at strides 4 and 8.
_FINE, _COARSE = 24, 40


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
        self.fine = nn.Conv2d(_FINE, width, 1)
        self.coarse = nn.Conv2d(_COARSE, width, 1, bias=False)
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


def imagenet_skin_network() -> SkinNetwork:
    """Return the network that nobody trained on animals: ImageNet's channels at strides 4 and 8, side by side.

    Each channel is brought to mean 0 and deviation 1 by what its batch normalisation says of it, and passes the head as
    it is (``relu(x) - relu(-x) = x``).
    """
    network = SkinNetwork(_FINE + _COARSE, 2 * (_FINE + _COARSE))
    network.start_from_imagenet()
    head = (network.fine, network.coarse, network.spread, network.project)
    with torch.no_grad():
        for layer in head:
            for parameter in layer.parameters():
                parameter.zero_()
        assert network.fine.bias is not None
        start, trunk = 0, list[Any](network.blocks)
        # A block that adds its input to its output adds its statistics too.
        for layer, channels, blocks in ((network.fine, _FINE, (2, 1)), (network.coarse, _COARSE, (4, 3))):
            norms = [trunk[block]._bn2 for block in blocks]
            mean = norms[0].bias + norms[1].bias
            deviation = (norms[0].weight ** 2 + norms[1].weight ** 2).sqrt()
            for channel in range(channels):
                for sign, row in ((1.0, start + channel), (-1.0, start + channels + channel)):
                    layer.weight[row, channel] = sign / deviation[channel]
                    network.fine.bias[row] = -sign * mean[channel] / deviation[channel]
                    network.project.weight[start // 2 + channel, row] = sign
            start += 2 * channels
    return network.eval()


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
