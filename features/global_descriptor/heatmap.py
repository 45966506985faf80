"""Where the global descriptor sees two photographs alike: Grad-CAM towards the cosine of the pair.

Grad-CAM (Selvaraju et al., ICCV 2017) weighs the channels of a stage by the mean gradient of a score and keeps what
speaks for it. Here the score is the **similarity of the pair** (Stylianou, Souvenir and Pless, WACV 2019, explain
retrieval by the same score): with a stage's map A of C channels and Z positions, and S the cosine,

    a_c = mean over positions of dS / dA_c        heat = Z * max(0, sum_c a_c A_c)

Z makes stages of different size comparable, because pooling hands each position about 1/Z of its gradient. The gradient
goes to the maps that the network pools, not through them, so a stage that feeds the next one is not counted twice, and
one forward pass a photograph is all the work there is.

Torch is imported on first use of a :class:`HeatMapper`, not with this module.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from features.global_descriptor.descriptor import GlobalSettings, find_models, load_network, prepare
from features.global_descriptor.network_input import IMAGENET_MEAN, IMAGENET_STD
from features.records import FloatArray, Frame, Photo

if TYPE_CHECKING:
    from torch import Tensor, nn

    from features.global_descriptor.runtime import TorchRuntime


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """What makes two photographs alike to the global descriptor.

    Attributes:
        heat0, heat1: (H, W) float32 in [0, 1] on each photograph's own pixel grid; 1 is the place that raises the
            similarity most in that photograph, 0 a place that does not raise it.
        similarity: cosine of the two descriptors, in [-1, 1].
    """

    heat0: FloatArray
    heat1: FloatArray
    similarity: float


@dataclass(frozen=True, eq=False)
class PooledView:
    """One photograph (or its mirror image) behind one network, ready to be compared.

    Attributes:
        maps: the (1, C, H, W) float32 maps that the network pools, one per stage.
        network: the network, of which only what follows the trunk is used.
        mirrored: whether the photograph was mirrored.
    """

    maps: tuple[Tensor, ...]
    network: nn.Module
    mirrored: bool = False


class HeatMapper:
    """Draws heat maps with the networks of a global descriptor.

    Args:
        settings: those of the descriptor; whatever its runtime, torch is used here.
        device: "cpu", "cuda" or None to choose.

    Raises:
        SettingsError: the model does not exist.
    """

    #: Photographs whose maps are kept: a query is compared with several candidates in a row.
    KEEP = 16

    def __init__(self, settings: GlobalSettings | None = None, device: str | None = None) -> None:
        # torch
        from features.global_descriptor.runtime import TorchRuntime, choose_device, choose_precision

        self.settings = settings or GlobalSettings()
        where = choose_device(device)
        self._networks: list[tuple[TorchRuntime, Callable[[Photo, Frame], FloatArray]]] = []
        for source in find_models(self.settings.model):
            network, header = load_network(source, self.settings.input_size)
            width, height = self.settings.input_size or header["input_size"]
            size = (int(width), int(height))
            runtime = TorchRuntime(network, where, choose_precision(self.settings.precision, where, size))
            mean, std = tuple(header.get("mean", IMAGENET_MEAN)), tuple(header.get("std", IMAGENET_STD))
            kind = header.get("input", "colour")
            self._networks.append((runtime, partial(prepare, size=size, mean=mean, std=std, kind=kind)))
        self._seen: OrderedDict[tuple[str, int, Frame], list[PooledView]] = OrderedDict()

    def pair(self, photo0: Photo, frame0: Frame, photo1: Photo, frame1: Frame) -> HeatMaps:
        """Return the heat maps of a pair of photographs, each with the frame that turns it head up."""
        views0, views1 = self._views(photo0, frame0), self._views(photo1, frame1)
        sizes = (frame0.canonical_size, frame1.canonical_size)
        totals = [np.zeros((height, width), np.float32) for width, height in sizes]
        cosines = []
        for view0, view1 in zip(views0, views1, strict=True):
            heats0, heats1, cosine = similarity_heat(view0, view1)
            cosines.append(cosine)
            for total, stage, size in zip(totals, (heats0, heats1), sizes, strict=True):
                # Stretched as the photograph was on its way in: the two grids cover the same picture.
                total += _on_picture(stage, view0.mirrored, size)
        heat0, heat1 = (
            np.ascontiguousarray(frame.turn_back(_to_unit(total)))
            for total, frame in zip(totals, (frame0, frame1), strict=True)
        )
        return HeatMaps(heat0, heat1, float(np.mean(cosines)))

    def _views(self, photo: Photo, frame: Frame) -> list[PooledView]:
        # One file may be used in several boxes, so its bytes alone do not say what is seen.
        key = (photo.sha256, hash(photo.rgb[::16, ::16].tobytes()), frame)
        if key not in self._seen:
            self._seen[key] = self._look(photo, frame)
            if len(self._seen) > self.KEEP:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return self._seen[key]

    def _look(self, photo: Photo, frame: Frame) -> list[PooledView]:
        import torch

        views = []
        for runtime, shown in self._networks:
            image = torch.from_numpy(shown(photo, frame)[None]).to(runtime.device)
            if runtime.precision == "bf16":
                image = image.to(torch.bfloat16)
            for mirrored in (False, True) if self.settings.mirror else (False,):
                with torch.no_grad():
                    maps = runtime.network.trunk(image.flip(3) if mirrored else image)
                views.append(PooledView(tuple(m.float() for m in maps), runtime.network, mirrored))
        return views


def similarity_heat(view0: PooledView, view1: PooledView) -> tuple[list[FloatArray], list[FloatArray], float]:
    """Return the heat of every stage in both views, (H, W) each and not negative, and the cosine of the two views."""
    import torch

    leaves = [[part.detach().requires_grad_(True) for part in view.maps] for view in (view0, view1)]
    with torch.enable_grad():
        vectors = [_head(view.network, maps) for view, maps in zip((view0, view1), leaves, strict=True)]
        cosine = torch.nn.functional.cosine_similarity(vectors[0], vectors[1], dim=1).sum()
    flat = [*leaves[0], *leaves[1]]
    # A stage that the network does not pool has no gradient, and no heat.
    gradients = torch.autograd.grad(cosine, flat, allow_unused=True)
    heats: list[FloatArray] = []
    for values, gradient in zip(flat, gradients, strict=True):
        if gradient is not None:
            weights = gradient.mean(dim=(2, 3), keepdim=True)
            signed = (weights * values.detach()).sum(dim=1)[0] * (values.shape[2] * values.shape[3])
            heats.append(np.asarray(signed.clamp(min=0).cpu().numpy(), np.float32))
    half = len(heats) // 2
    return heats[:half], heats[half:], float(cosine.detach())


def _head(network: nn.Module, maps: list[Tensor]) -> Tensor:
    """Run what follows the trunk, on maps that were computed before."""
    from torch import nn

    class Given(nn.Module):
        def forward(self, _: Tensor) -> tuple[Tensor, ...]:
            return tuple(maps)

    head = copy.copy(network)
    # A module's parts live in a table of their own, which a shallow copy would share with the original.
    head._modules = {**network._modules, "trunk": Given()}
    answer: Tensor = head(maps[0])
    return answer


def _on_picture(stages: list[FloatArray], mirrored: bool, size: tuple[int, int]) -> FloatArray:
    """Bring the heat of all stages to (width, height) and add it up, mirrored back where the view was mirrored."""
    total = np.zeros((size[1], size[0]), np.float32)
    for stage in stages:
        back = np.ascontiguousarray(stage[:, ::-1] if mirrored else stage)
        total += cv2.resize(back, size, interpolation=cv2.INTER_CUBIC).clip(min=0)
    return total


def _to_unit(heat: FloatArray) -> FloatArray:
    top = float(heat.max(initial=0.0))
    return np.asarray(heat / top if top > 0 else heat, np.float32)
