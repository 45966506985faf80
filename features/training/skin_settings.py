"""The options of a training of the dense skin descriptors."""

from __future__ import annotations

from dataclasses import dataclass

from scarmatch.settings import Settings, SettingsError


@dataclass(frozen=True)
class SkinTrainSettings(Settings):
    """Everything that decides the weights, beside the photographs.

    Attributes:
        input_size: (width, height) of the network's input.
        dim: numbers per descriptor.
        steps: of the first stage, on made-up views alone.
        real_steps: of the second stage, which also sees pairs of photographs; 0 leaves it out.
        animals: in a batch, each in two views.
        real_animals: of them, shown in two photographs in the second stage.
        anchors: points of a batch are drawn around so many common points of the body.
        rate: highest learning rate of the head in the first stage; the second has half of it.
        held_out: "half" (the half of :func:`features.training.data.split_half` is left out) or "none".
        views: photographs from the "top" (and of unknown views), or of "all" views.
        same_encounter, other_encounter: candidates for pairs of photographs, per photograph.
        impostors: pairs of two animals that say how many agreeing points chance brings.
        false_rate: share of impostors that may agree as well as an accepted pair.
        seed: of everything.
    """

    input_size: tuple[int, int] = (192, 512)
    dim: int = 64
    steps: int = 500
    real_steps: int = 250
    animals: int = 8
    real_animals: int = 5
    anchors: int = 64
    rate: float = 4e-3
    held_out: str = "half"
    views: str = "top"
    same_encounter: int = 2
    other_encounter: int = 3
    impostors: int = 500
    false_rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_size", tuple(int(v) for v in self.input_size))
        if self.held_out not in ("half", "none"):
            raise SettingsError(f"held_out must be half or none, not {self.held_out!r}")
        if self.views not in ("top", "all"):
            raise SettingsError(f"views must be top or all, not {self.views!r}")
        if self.animals < 2 or not 0 <= self.real_animals <= self.animals:
            raise SettingsError("animals must be at least 2, real_animals between 0 and animals")
        if any(side % 8 for side in self.input_size) or min(self.input_size) < 32:
            raise SettingsError(f"input_size must be multiples of 8 from 32 on, not {self.input_size}")
