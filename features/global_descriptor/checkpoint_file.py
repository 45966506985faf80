"""Checkpoints of other people's networks: tensors out of a file, and nothing that the file could run.

A checkpoint of PyTorch is a pickle, which may hold code. It is read here and nowhere else, by torch's loader that knows
tensors only; what loads models later is given tensors, never a path.

Torch is imported when this module is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scarmatch.errors import ScarmatchError

#: Where published checkpoints keep their weights, the averaged ones first.
_PLACES = ("state_dict_ema", "model_ema", "state_dict", "model")


class CheckpointFileError(ScarmatchError, ValueError):
    """A file holds no weights, or none of the network asked for; the message names it."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint (safetensors, or PyTorch's own format), on the CPU.

    Raises:
        CheckpointFileError: no such file, a damaged one, one that holds more than tensors, or none at all.
    """
    from safetensors.torch import load_file

    if not path.is_file():  # never open a pipe or a device
        raise CheckpointFileError(f"{path} is no file")
    content: Any
    try:
        if path.suffix == ".safetensors":
            content = load_file(path, device="cpu")
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises almost anything
        reason = " ".join(str(error).split())[:200]
        raise CheckpointFileError(f"{path} cannot be read as weights, and nothing else is read: {reason}") from error
    for place in _PLACES:
        if isinstance(content, dict) and isinstance(content.get(place), dict):
            content = content[place]
            break
    tensors = (
        {name: value for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not tensors:
        raise CheckpointFileError(f"{path} holds no tensors by name")
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointFileError(f"{path} holds numbers that are not finite, e.g. in {broken[0]!r}")
    # Trainings on several processors or with compiled networks put a word before every name.
    return {name.removeprefix("_orig_mod.").removeprefix("module."): value for name, value in tensors.items()}


def check_all_loaded(fresh: nn.Module, loaded: nn.Module, path: Path) -> None:
    """Refuse a network in which tensors are still as chance made them.

    Args:
        fresh: the network without weights, made with the seed that ``loaded`` was made with.
        loaded: the network with the weights of the file ``path``.

    Raises:
        CheckpointFileError: the file did not hold all tensors; the message names one.
    """
    before, after = fresh.state_dict(), loaded.state_dict()
    left = [
        name
        for name, value in before.items()
        if value.is_floating_point() and value.numel() > 1 and value.min() != value.max() and value.equal(after[name])
    ]
    if left:
        raise CheckpointFileError(
            f"{path} lacks {len(left)} tensors of the network, e.g. {left[0]!r}: it was made for another"
        )
