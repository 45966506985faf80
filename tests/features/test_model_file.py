"""Files of weights: what is written is read, and the same content is the same file."""

from __future__ import annotations

from pathlib import Path

import torch

from features.model_file import read_tensors, write_tensors


def test_the_same_tensors_are_the_same_file(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(1, dtype=torch.float16)}
    contents = set()
    for number in range(12):
        path = tmp_path / f"{number}.safetensors"
        write_tensors(path, tensors, {"kind": "any", "name": "ä", "numbers": [1, 2]})
        contents.add(path.read_bytes())
    assert len(contents) == 1
    read, header = read_tensors(path)
    assert header["name"] == "ä" and all(torch.equal(read[name], tensors[name]) for name in tensors)
