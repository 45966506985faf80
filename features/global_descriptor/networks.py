"""The networks of the global descriptor: a trunk with two stages, generalised-mean pooling, an embedding neck.

Torch is imported when this module is, so import the module only where a network is needed.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scarmatch.settings import SettingsError

LITE_NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
STAGES = ("late", "middle", "strips")
STRIPS = 4
SMALLEST_HALF = 96
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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

    def _early(self, x: Tensor, found: list[Tensor]) -> Tensor:
        x = functional.relu6(self.stem_norm(self.stem(x)))
        return self._through(x, range(self.frozen_blocks), found)

    def _through(self, x: Tensor, numbers: range, found: list[Tensor]) -> Tensor:
        for i in numbers:
            x = self.blocks[i](x)
            if i in self.taps:
                found.append(x)
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


class TimmTrunk(nn.Module):
    """Any backbone of timm that offers its intermediate maps; the last two are used (always channels first).

    Args:
        name: timm's name, e.g. "resnet50" or "tf_efficientnet_b5".
        weights: a file of weights in timm's layout; None starts at random. Nothing is downloaded.
        input_size: (width, height).
    """

    def __init__(self, name: str, weights: Path | None = None, input_size: tuple[int, int] = (224, 224)) -> None:
        super().__init__()
        timm = import_timm()
        options: dict[str, Any] = {"features_only": True}
        if weights is not None:
            options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(weights)}}
        if name.startswith(("swin", "vit", "deit")):
            options["img_size"] = (input_size[1], input_size[0])
        try:
            self.net = timm.create_model(name, **options)
        except RuntimeError as error:
            raise SettingsError(f"timm cannot build the backbone {name!r}: {error}") from error
        self.channels = tuple(int(c) for c in self.net.feature_info.channels()[-2:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.net(x)[-2:]
        ready = [m if m.shape[1] == c else m.permute(0, 3, 1, 2) for m, c in zip(maps, self.channels, strict=True)]
        return ready[0], ready[1]


#: Compiled operators that torchvision describes to torch when it is imported.
_TORCHVISION_OPERATORS = (
    *("roi_align", "_roi_align_backward", "ps_roi_align", "_ps_roi_align_backward"),
    *("roi_pool", "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward"),
    *("nms", "qnms", "qroi_align", "deform_conv2d", "_deform_conv2d_backward"),
)
_declared: list[Any] = []


def import_timm() -> Any:
    """Import timm, or say what stands in the way.

    timm needs torchvision's Python part. One that was built for another torch (pip installs such a one beside a torch
    for CPUs) finds its compiled operators missing and cannot be imported; no backbone uses them, so their names are
    declared, without anything behind them, and it can.

    Raises:
        SettingsError: timm is not installed, or cannot be imported even so.
    """
    if importlib.util.find_spec("timm") is None:
        raise SettingsError("this backbone needs timm: pip install 'scarmatch[timm]'")
    try:
        try:
            return importlib.import_module("timm")
        except RuntimeError:
            _declare_missing_operators()
            return importlib.import_module("timm")
    except (RuntimeError, ImportError) as error:
        raise SettingsError(
            f"timm is installed but cannot be imported ({error}). The usual cause is a torchvision that was built for "
            "another torch: install the matching one."
        ) from error


def _declare_missing_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _TORCHVISION_OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor input) -> Tensor")
    _declared.append(library)  # what a library declares goes when it is collected


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


def cpu_half_precision(input_size: tuple[int, int]) -> bool:
    """True if this CPU multiplies bfloat16 in hardware (AMX or AVX512-BF16); without it bfloat16 is slower.

    Never for inputs narrower than ``SMALLEST_HALF``: torch 2.13 on AMX gives garbage (even NaN) for a strided 3 x 3
    convolution of a bfloat16 map of about 4 x 2 pixels, which is what is left of such an input.
    """
    if min(input_size) < SMALLEST_HALF:
        return False
    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, probe, None)
        if supported is not None and supported():
            return True
    return False
