"""Running a descriptor network: torch (the reference) and OpenVINO (the extra), equal within a stated tolerance.

Torch is imported when this module is.
"""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from features.global_descriptor.lite_trunk import LiteTrunk
from features.global_descriptor.network_input import IMAGENET_MEAN, IMAGENET_STD
from features.global_descriptor.precision import cpu_half_precision
from features.hardware import torch_has_no_gpu
from features.records import FloatArray
from scarmatch.settings import SettingsError

COSINE_TOLERANCE = 0.02
"""Descriptors of one photograph from any two runtimes and precisions have a cosine of at least 1 - this."""


class Runtime(Protocol):
    """A loaded network: photographs in, raw vectors out."""

    precision: str

    def __call__(self, images: FloatArray) -> FloatArray:
        """(N, 3, H, W) float32 normalised colours -> (N, D) float32, not L2-normalised."""
        ...


def choose_device(name: str | None) -> torch.device:
    """The device to run on: the one named, otherwise a GPU where there is one, otherwise the CPU.

    Raises:
        SettingsError: "cuda" is asked for and there is none.
    """
    if name in (None, "auto"):
        # The same answer as where torch is not asked: what is described is kept under the name of its precision.
        return torch.device("cuda" if not torch_has_no_gpu() and torch.cuda.is_available() else "cpu")
    if str(name).startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError("device 'cuda' is asked for, but torch sees no GPU here; use device 'auto' or 'cpu'")
    return torch.device(str(name))


def choose_precision(name: str, device: torch.device, input_size: tuple[int, int]) -> str:
    """ "bf16" where the hardware multiplies it faster ("auto"), or what was asked for."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if cpu_half_precision(input_size) else "fp32"


class TorchRuntime:
    """The network in torch: batch norms folded into the convolutions, channels last, bfloat16 where it pays."""

    def __init__(self, network: nn.Module, device: torch.device, precision: str) -> None:
        self.device, self.precision = device, precision
        self.network = fold_norms(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision == "bf16":
            self.network.trunk.to(torch.bfloat16)

    def __call__(self, images: FloatArray) -> FloatArray:
        tensor = torch.from_numpy(np.ascontiguousarray(images)).to(self.device, memory_format=torch.channels_last)
        if self.precision == "bf16":
            tensor = tensor.to(torch.bfloat16)
        with torch.inference_mode():
            vectors: npt.NDArray[np.float32] = self.network(tensor).float().cpu().numpy()
        return vectors


class OpenVinoRuntime:
    """The network compiled by OpenVINO for the CPU.

    Raises:
        SettingsError: OpenVINO is not installed.
    """

    def __init__(self, network: nn.Module, input_size: tuple[int, int], precision: str) -> None:
        try:
            import openvino
        except ImportError as error:
            raise SettingsError("the runtime 'openvino' needs its extra: pip install 'scarmatch[openvino]'") from error
        self.precision = precision
        width, height = input_size
        example = torch.zeros(1, 3, height, width)
        with torch.no_grad():
            converted = openvino.convert_model(fold_norms(network), example_input=example)
        converted.reshape([-1, 3, height, width])
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}
        threads = torch.get_num_threads()
        options["INFERENCE_NUM_THREADS"] = threads
        self.compiled = openvino.Core().compile_model(converted, "CPU", options)

    def __call__(self, images: FloatArray) -> FloatArray:
        return np.array(self.compiled([np.ascontiguousarray(images, np.float32)])[0], np.float32)


def fold_norms(network: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose batch norms are part of the convolutions before them (Lite trunks only)."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = copy.deepcopy(network).eval().requires_grad_(False)
    trunk = network.trunk
    if not isinstance(trunk, LiteTrunk):
        return network
    if not trunk.ends_early:
        trunk.head, trunk.head_norm = fuse_conv_bn_eval(trunk.head, trunk.head_norm), nn.Identity()
    fold_stem_and_blocks(trunk)
    return network


def fold_stem_and_blocks(part: Any) -> None:
    """Make the batch norms of EfficientNet-Lite's stem and blocks part of the convolutions before them.

    Args:
        part: a network with ``stem``, ``stem_norm`` and ``blocks``; changed in place.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    part.stem, part.stem_norm = fuse_conv_bn_eval(part.stem, part.stem_norm), nn.Identity()
    for block in part.blocks:
        for convolution, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            if hasattr(block, convolution):
                fused = fuse_conv_bn_eval(getattr(block, convolution), getattr(block, norm))
                setattr(block, convolution, fused)
                setattr(block, norm, nn.Identity())


def to_input(images: npt.NDArray[np.floating], device: torch.device) -> Tensor:
    """(N, H, W, 3) float in [0, 1] -> (N, 3, H, W) normalised, channels-last in memory."""
    normalised = (images - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(normalised, np.float32)).permute(0, 3, 1, 2)
    return tensor.to(device, memory_format=torch.channels_last)
