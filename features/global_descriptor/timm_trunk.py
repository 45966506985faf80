"""Backbones of timm (PyTorch Image Models) as trunks.

Torch is imported with this module, timm when a backbone is built.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from features.global_descriptor.checkpoint_file import CheckpointFileError, check_all_loaded, read_checkpoint
from scarmatch.settings import SettingsError


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
        if name.startswith(("swin", "vit", "deit")):
            options["img_size"] = (input_size[1], input_size[0])
        try:
            if weights is None:
                self.net = timm.create_model(name, **options)
            else:
                self.net = _with_weights(timm.create_model, name, options, weights)
        except RuntimeError as error:
            raise SettingsError(f"timm cannot build the backbone {name!r}: {error}") from error
        self.channels = tuple(int(c) for c in self.net.feature_info.channels()[-2:])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.net(x)[-2:]
        ready = [m if m.shape[1] == c else m.permute(0, 3, 1, 2) for m, c in zip(maps, self.channels, strict=True)]
        return ready[0], ready[1]


def _with_weights(create: Callable[..., Any], name: str, options: dict[str, Any], path: Path) -> nn.Module:
    """Build a backbone of timm with the weights of a file, all of them.

    Raises:
        CheckpointFileError: the file holds no weights, or not those of the backbone.
        RuntimeError: timm does not know the backbone.
    """
    # It tells of tensors that the file has too many, a classifier's; those that it lacks are an error here.
    logging.getLogger("timm.models._builder").setLevel(logging.ERROR)
    networks: list[nn.Module] = []
    for extra in ({}, {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": read_checkpoint(path)}}):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                networks.append(create(name, **options, **extra))
            except Exception as error:
                if not extra:
                    raise
                reason = " ".join(str(error).split())[:300]
                raise CheckpointFileError(f"{path} does not fit the backbone {name!r}: {reason}") from error
    fresh, loaded = networks
    check_all_loaded(fresh, loaded, path)
    return loaded


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
