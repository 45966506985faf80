"""Files of trained descriptors: tensors in safetensors, everything else in the file's JSON header; no pickle.

Torch is imported when this module is.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from features.global_descriptor.network_input import INPUT_KINDS
from features.global_descriptor.networks import Embedder, build_trunk
from features.model_header import (
    CHECKSUM_KEY,
    FORMAT,
    HEADER_KEY,
    ModelFileError,
    header_of,
    header_text,
    of_kind,
    read_header,
    reading,
)
from features.weights import check_shipped

__all__ = (
    "FORMAT",
    "ModelFileError",
    "load_embedder",
    "of_kind",
    "read_header",
    "read_tensors",
    "reading",
    "restore",
    "save_embedder",
    "stored",
    "write_tensors",
)


def write_tensors(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write tensors and a JSON header to a safetensors file, through a temporary file that takes its place at once.

    A checksum of both goes into the header, so that damage is noticed when the file is read.
    """
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps(header, sort_keys=True)
    data = save(ready, metadata={HEADER_KEY: text, CHECKSUM_KEY: _checksum(ready, text)})
    with temporary.open("wb") as file:
        file.write(_in_order(data))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _in_order(data: bytes) -> bytes:
    """Return a safetensors file with its header's names in order: the library writes them in another one each time.

    The same tensors then are the same file, with the same hash.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote: tensors on the CPU, and the header.

    Raises:
        ModelFileError: not such a file, or a damaged one.
        WeightsError: it ships with the program, and is not what was shipped.
    """
    check_shipped(path)
    return _read(path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():  # never open a pipe or a device
        raise ModelFileError(f"{path} is no file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{path} cannot be read as a model file: {error}") from error
    text = header_text(path, metadata)
    expected = metadata.get(CHECKSUM_KEY)
    if expected is not None and _checksum(tensors, text) != expected:
        raise ModelFileError(f"{path} is damaged (its checksum differs): copy it again from its source")
    header = header_of(path, text)
    broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ModelFileError(f"{path} holds numbers that are not finite, e.g. in {broken[0]!r}")
    return tensors, header


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    """Return the hex SHA-256 of the header and of every tensor's name, type, shape and numbers."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
    of_kind(path, header, "embedder", FORMAT, "a descriptor is")
    with reading(path):
        width, height = (int(side) for side in header["input_size"])
        if (
            len(tensors["project.weight"]) != header["embedding"]
            or not 1 <= min(width, height) <= max(width, height) <= 4096
        ):
            raise ModelFileError(f"{path} does not fit its own header: sizes differ")
        for name in ("mean", "std"):
            values = header.get(name, (0.0, 0.0, 0.0))
            if len(values) != 3 or not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
                raise ModelFileError(f"{path} does not fit its own header: {name} is not three numbers")
        if header.get("input", "colour") not in INPUT_KINDS:
            raise ModelFileError(f"{path}: no network is shown {header['input']!r}; known: {', '.join(INPUT_KINDS)}")
        trunk = build_trunk(header["backbone"], (width, height), stages=header.get("stages", "late"))
        model = Embedder(trunk, header["embedding"])
        restore(model, tensors, path)
    return model.eval(), header
