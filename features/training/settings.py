"""Everything that decides the weights of a trained descriptor, beside the photographs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from features.global_descriptor.descriptor import IMAGENET_NAMES
from features.global_descriptor.network_input import INPUT_KINDS
from features.training.augmentation import AugmentationSettings
from features.weights import backbone_and_file, file_sha256
from scarmatch.settings import Settings, SettingsError

#: What was found to work, as changes of the defaults (see bench/NOTES.md): "skin" is what beluga-skin was trained by,
#: "colour" shows photographs as they are, from all sides.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "skin": {
        "input": "flattened",
        "stages": "strips",
        "input_size": (120, 320),
        "mirror_classes": False,
        "views": "top",
        "sampling_groups": "encounter",
        "same_day": 0.33,
        "augmentation": {"strength": 0.7},
        "frozen_blocks": 3,
        "epochs": 18,
        "hold": 8.0,
    },
    "colour": {},
}
#: What a backbone is told to start from whose weights nobody named.
RANDOM = "random weights"
LOSSES = ("subcenter_arcface", "arcface", "arcmargin", "elastic_arcface")


@dataclass(frozen=True)
class TrainSettings(Settings):
    """Everything that decides the weights, beside the photographs.

    Attributes:
        backbone: efficientnet_lite0..2 (with ImageNet's weights), basic_cnn, or a backbone of timm: NAME@WEIGHTS, a
            file of weights in timm's layout, or NAME alone, which starts from random weights.
        stages: the maps of a Lite network that are pooled, "late", "strips" or "middle" (see
            :class:`features.global_descriptor.lite_trunk.LiteTrunk`).
        input: what the network is shown, "colour" or "flattened" (:mod:`features.global_descriptor.network_input`).
        input_size: (width, height) of the network's input.
        small_size: (width, height) of the network's input in the first epochs.
        small_epochs: so many first epochs run at ``small_size`` (fewer pixels: more passes in the same time).
        embedding: dimensions of the descriptor.
        loss: one of ``features.training.losses.LOSSES``. subcentres: centres per class of "subcenter_arcface".
        mirror_classes: also show photographs flipped, as other individuals (half of the time).
        minimum_photographs: individuals with fewer are left out.
        views: photographs of "all" viewpoints, or from the "top" only (and of viewpoints that are not known).
        same_day: share of the loss, in [0, 1], in which only individuals seen on the photograph's day compete: there,
            light and water tell nobody apart.
        sampling_groups: what is balanced, each "individual" or each "encounter" of each individual.
        held_out: "half" (the other half of :func:`split_half`), "fold" (fold ``fold`` of ``folds``) or "none".
        fold: the fold that is left out. folds: their number.
        batch: photographs in one step.
        rate: highest learning rate. backbone_rate: the trunk's share of it.
        warm_up: epochs in which the rate rises. hold: epochs for which it then stays. final_share: of the highest rate,
            at the end of the exponential decay that follows (:mod:`features.training.schedule`).
        worse_copies: copies of each photograph, blurred, coarser or more compressed (:mod:`features.training.degrade`),
            that take turns with it; made once, before flattening.
        frozen_blocks: leading blocks of the trunk that keep their ImageNet weights.
        epochs: passes over the photographs. With 0 the trunk stays as it is, and the projection is the whitening of its
            pooled maps alone: minutes instead of hours.
        whitening: shrinkage of the within-class whitening of the finished model (see
            :mod:`features.training.whitening`); negative leaves it out.
        ema: weight average per step.
        validate_every: epochs from one validation to the next.
        patience: validations without a better score before stopping early; 0 never stops early.
        seed: of everything random.
        augmentation: how photographs are changed each time they are shown.
    """

    backbone: str = "efficientnet_lite0"
    stages: str = "late"
    input: str = "colour"
    input_size: tuple[int, int] = (144, 384)
    small_size: tuple[int, int] = (96, 256)
    small_epochs: int = 0
    embedding: int = 512
    loss: str = "subcenter_arcface"
    subcentres: int = 1
    mirror_classes: bool = True
    minimum_photographs: int = 2
    views: str = "all"
    same_day: float = 0.0
    sampling_groups: str = "individual"
    held_out: str = "half"
    fold: int = 0
    folds: int = 5
    epochs: int = 20
    batch: int = 32
    rate: float = 1e-3
    backbone_rate: float = 0.5
    warm_up: float = 1.0
    hold: float = 5.0
    final_share: float = 0.02
    ema: float = 0.995
    whitening: float = 0.3
    worse_copies: int = 0
    frozen_blocks: int = 0
    validate_every: int = 5
    patience: int = 0
    seed: int = 0
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        name, file = backbone_and_file(self.backbone)
        if file is not None and (name in IMAGENET_NAMES or name == "basic_cnn"):
            raise SettingsError(f"backbone {self.backbone!r}: a file of weights goes with a backbone of timm")
        if self.loss not in LOSSES:
            raise SettingsError(f"no loss {self.loss!r}; known losses: {', '.join(LOSSES)}")
        if self.held_out not in ("half", "fold", "none"):
            raise SettingsError(f"held_out must be half, fold or none, not {self.held_out!r}")
        if self.input not in INPUT_KINDS:
            raise SettingsError(f"input must be one of {', '.join(INPUT_KINDS)}, not {self.input!r}")
        if self.views not in ("all", "top"):
            raise SettingsError(f"views must be all or top, not {self.views!r}")
        if self.sampling_groups not in ("individual", "encounter"):
            raise SettingsError(f"sampling_groups must be individual or encounter, not {self.sampling_groups!r}")
        if not 0 <= self.same_day <= 1:
            raise SettingsError(f"same_day is a share of the loss in [0, 1], not {self.same_day}")
        for name in ("batch", "embedding", "minimum_photographs", "validate_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1")
        if self.epochs < 0:
            raise SettingsError("epochs must be 0 or more")
        if isinstance(self.augmentation, dict):
            object.__setattr__(self, "augmentation", AugmentationSettings.from_dict(self.augmentation))
        for name in ("input_size", "small_size"):
            if len(getattr(self, name)) != 2 or min(getattr(self, name)) < 32:
                raise SettingsError(f"{name} must be (width, height), both 32 or more, not {getattr(self, name)}")
            object.__setattr__(self, name, tuple(int(v) for v in getattr(self, name)))

    @classmethod
    def recipe(cls, name: str, backbone: str | None = None) -> Self:
        """Return the options of one of :data:`RECIPES`.

        Args:
            name: of the recipe.
            backbone: another network than the recipe's; what only EfficientNet-Lite offers is then left out.

        Raises:
            SettingsError: there is no such recipe.
        """
        if name not in RECIPES:
            raise SettingsError(f"no recipe {name!r}; known recipes: {', '.join(RECIPES)}")
        options = dict(RECIPES[name])
        if backbone is not None:
            options["backbone"] = backbone
            if backbone not in IMAGENET_NAMES:
                options = {key: value for key, value in options.items() if key not in ("stages", "frozen_blocks")}
        return cls.from_dict(options)

    @property
    def start(self) -> str:
        """What taught the backbone before, in words."""
        name, file = backbone_and_file(self.backbone)
        if file is not None:
            return f"{file.name} (SHA-256 {file_sha256(file)[:12]})"
        return "ImageNet" if name in IMAGENET_NAMES else RANDOM

    def size_at(self, epoch: int) -> tuple[int, int]:
        """(width, height) of the input in that epoch."""
        return self.small_size if epoch < self.small_epochs else self.input_size


def told_of_random(backbone: str) -> str:
    """Return what is said of a backbone that nobody gave weights."""
    return f"{backbone} starts from random weights; one of timm's takes a file of them, NAME@FILE (none is downloaded)"
