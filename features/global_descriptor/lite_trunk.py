"""EfficientNet-Lite (rwightman / Google) as a trunk whose maps of several strides can be pooled.

Torch is imported with this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.global_descriptor.precision import cpu_half_precision
from scarmatch.settings import SettingsError

LITE_NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
STAGES = ("late", "middle", "strips")
STRIPS = 4


class LiteTrunk(nn.Module):
    """EfficientNet-Lite: stem, inverted residual blocks and perhaps the last 1 x 1 convolution, without the classifier.

    ``forward`` takes (N, 3, H, W) normalised colours and gives the maps of some stages. "late": the last block at
    stride 16 before the step to 32, and the head at stride 32 (1,280 channels). "strips": the same, but the map at
    stride 16 is also pooled in four strips from head to tail, so that a mark keeps its place. "middle": the last block
    of each width at strides 8 and 16; the network ends there, since marks are a few pixels wide.

    Blocks end linearly, so their maps have both signs; "late" pools the positive side only, as its models were trained.

    Attributes:
        channels: of each map.
        signed: for each map, whether both signs are pooled.
        strips: for each map, in how many strips along the body it is pooled beside the whole; 0 for none.
    """

    def __init__(self, name: str = "efficientnet_lite0", frozen_blocks: int = 0, stages: str = "late") -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        if stages not in STAGES:
            raise SettingsError(f"no stages of a network are called {stages!r}; known: {', '.join(STAGES)}")
        net = EfficientNet.from_name(name.replace("_", "-"))
        self.stem, self.stem_norm = net._conv_stem, net._bn0
        blocks = list(net._blocks)
        steps = [i for i, block in enumerate(blocks) if first_stride(block._block_args.stride) == 2]
        widths = [int(block._block_args.output_filters) for block in blocks]
        self.last_step = steps[-1]
        self.ends_early = stages == "middle"
        if self.ends_early:
            self.blocks = nn.ModuleList(blocks[: self.last_step])
            last_of_width = [i for i in range(self.last_step) if widths[i + 1] != widths[i]]
            self.taps = tuple(i for i in last_of_width if i >= steps[-3])
            self.channels = tuple(widths[i] for i in self.taps)
            self.signed, self.strips = (True,) * len(self.taps), (0,) * len(self.taps)
        else:
            self.blocks = nn.ModuleList(blocks)
            self.head, self.head_norm = net._conv_head, net._bn1
            self.taps = (self.last_step - 1,)
            self.channels = (widths[self.last_step - 1], int(self.head.out_channels))
            self.signed, self.strips = ((True, False), (STRIPS, 0)) if stages == "strips" else ((False,) * 2, (0, 0))
        pad_inside(self)
        self.frozen_blocks = 0
        self.freeze(frozen_blocks)

    def freeze(self, blocks: int) -> None:
        """Keep the stem and the first ``blocks`` blocks as they are (weights and statistics); 0 trains everything.

        Edges and colours of the first layers are the same for whales as for ImageNet, and on a CPU their backward
        pass costs about 40 % of a step.
        """
        self.frozen_blocks = blocks
        for module in self._fixed():
            module.requires_grad_(False)
        self.train(self.training)

    def _fixed(self) -> list[nn.Module]:
        if not self.frozen_blocks:
            return []
        return [self.stem, self.stem_norm, *self.blocks[: self.frozen_blocks]]

    def train(self, mode: bool = True) -> LiteTrunk:
        super().train(mode)
        for module in self._fixed():
            module.eval()
        return self

    def _early(self, x: Tensor, maps: list[Tensor]) -> Tensor:
        x = functional.relu6(self.stem_norm(self.stem(x)))
        return self._through(x, range(self.frozen_blocks), maps)

    def _through(self, x: Tensor, numbers: range, maps: list[Tensor]) -> Tensor:
        for i in numbers:
            x = self.blocks[i](x)
            if i in self.taps:
                maps.append(x)
        return x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        if self.frozen_blocks and self.training:
            half = x.device.type == "cuda" or cpu_half_precision((x.shape[3], x.shape[2]))
            with torch.no_grad(), torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=half):
                x = self._early(x, found)
            if half:
                x, found = x.float(), [one.float() for one in found]
        else:
            x = self._early(x, found)
        x = self._through(x, range(self.frozen_blocks, len(self.blocks)), found)
        if not self.ends_early:
            found.append(functional.relu6(self.head_norm(self.head(x))))
        return tuple(found)

    def load_imagenet(self, path: Path) -> None:
        """Load the published ImageNet weights (.pth); every tensor of the trunk must be there (it may be shorter)."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        renamed = {}
        for key, value in state.items():
            if key.startswith("_fc."):
                continue
            for old, new in (
                ("_conv_stem.", "stem."),
                ("_bn0.", "stem_norm."),
                ("_blocks.", "blocks."),
                ("_conv_head.", "head."),
                ("_bn1.", "head_norm."),
            ):
                if key.startswith(old):
                    key = new + key[len(old) :]
                    break
            renamed[key] = value
        own = self.state_dict()
        self.load_state_dict({key: value for key, value in renamed.items() if key in own}, strict=True)


def pad_inside(module: nn.Module) -> None:
    """Let convolutions pad by themselves where the padding is even: no copy of the map, same numbers."""
    for name, child in module.named_children():
        padding = getattr(child, "static_padding", None)
        if not isinstance(child, nn.Conv2d) or padding is None:
            pad_inside(child)
            continue
        left, right, upper, lower = getattr(padding, "padding", (0, 0, 0, 0))
        if left == right and upper == lower:
            plain = nn.Conv2d(
                child.in_channels,
                child.out_channels,
                child.kernel_size,  # type: ignore[arg-type]
                tuple(child.stride),  # type: ignore[arg-type]
                padding=(upper, left),
                groups=child.groups,
                bias=False,
            )
            plain.weight = child.weight
            setattr(module, name, plain)


def first_stride(stride: Any) -> int:
    """The stride of a block, given as a number or as a list of one or two numbers."""
    return int(stride[0]) if isinstance(stride, list | tuple) else int(stride)
