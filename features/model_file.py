"""Files of trained descriptors: tensors in safetensors, everything else in the file's JSON header; no pickle.

Torch is imported when this module is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from features.global_descriptor.networks import Embedder, build_trunk
from scarmatch.errors import ScarmatchError

FORMAT = 1
HEADER_KEY = "scarmatch"


class ModelFileError(ScarmatchError, ValueError):
    """A model file is missing, damaged, or of another kind; the message names it."""


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header to a safetensors file, through a temporary file that takes its place at once."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(ready, temporary, metadata={HEADER_KEY: json.dumps(header, sort_keys=True)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header of a file that :func:`write_tensors` wrote.

    Raises:
        ModelFileError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path} cannot be read as a model file: {error}") from error
    if text is None:
        raise ModelFileError(f"{path} is a safetensors file, but not one of scarmatch's (its header does not say so)")
    header: dict[str, Any] = json.loads(text)
    return header


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote: tensors on the CPU, and the header.

    Raises:
        ModelFileError: not such a file.
    """
    from safetensors.torch import load_file

    header = read_header(path)
    return load_file(path, device="cpu"), header


def stored(model: nn.Module, half: bool) -> dict[str, Tensor]:
    """Return a model's tensors as they are written: float32 as float16 if ``half``."""
    return {n: t.half() if half and t.dtype == torch.float32 else t for n, t in model.state_dict().items()}


def restore(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load what :func:`stored` gave, in float32.

    Raises:
        ModelFileError: the tensors of the file ``path`` are not those of the model.
    """
    exact = {name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()}
    try:
        model.load_state_dict(exact, strict=True)
    except RuntimeError as error:
        raise ModelFileError(f"{path} does not fit its own header: {error}") from error


def save_embedder(path: Path, model: Embedder, header: dict[str, Any], half: bool = False) -> None:
    """Write a descriptor: the embedder's tensors and a header that says how to build and feed it.

    Args:
        header: at least backbone, embedding, input_size ([width, height]), mean and std; also stages and input where
            they are not "late" and "colour"; anything else is kept.
        half: write float16 (half the size; the difference of a descriptor's cosines is below 1e-3).
    """
    write_tensors(path, stored(model, half), {**header, "format": FORMAT, "kind": "embedder"})


def load_embedder(path: Path) -> tuple[Embedder, dict[str, Any]]:
    """Read a descriptor: the network in evaluation mode (float32, CPU) and its header.

    Raises:
        ModelFileError: not a descriptor of this project, or of a newer format.
    """
    tensors, header = read_tensors(path)
    if header.get("kind") != "embedder" or header.get("format") != FORMAT:
        raise ModelFileError(
            f"{path} is of kind {header.get('kind')!r}, format {header.get('format')!r}; a descriptor is of kind "
            f"'embedder', format {FORMAT}"
        )
    trunk = build_trunk(header["backbone"], tuple(header["input_size"]), stages=header.get("stages", "late"))
    model = Embedder(trunk, header["embedding"])
    restore(model, tensors, path)
    return model.eval(), header
