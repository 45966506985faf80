"""Hostile models: rankers, weights of evidence, trained networks and checkpoints, damaged and wrongly filled in."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.hostile.batches import Judge, run_in_batches
from bench.hostile.damage import damaged
from bench.hostile.outcome import Outcome
from features.global_descriptor.checkpoint_file import read_checkpoint
from features.global_descriptor.networks import BasicTrunk, Embedder
from features.keypoints.metric import KeypointMetric
from features.model_file import load_embedder, save_embedder
from reranker.local_evidence import LocalEvidence
from reranker.ranker import Ranker
from scarmatch.manifest import ROOT
from scarmatch.sealed_json import SEAL

_SHIPPED = ROOT / "reranker" / "models"
_SIZE = (32, 64)


@dataclass(frozen=True, eq=False)
class Original:
    """A sound model: its file's bytes, how it is loaded to an array of answers, and whether its file has a hash."""

    suffix: str
    data: bytes
    answers: Callable[[Path], Any]
    right: Any
    sealed: bool


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Load and use ``count`` damaged models.

    *Silent* is a model whose file carries a hash and that answers differently. Files of earlier versions and
    checkpoints of others carry none: of them only a sound end is asked.
    """
    return run_in_batches("models", count, seed, folder)


def prepare(folder: Path) -> dict[str, Original]:
    """Make the sound models."""
    made: dict[str, Original] = {}

    def add(name: str, path: Path, answers: Callable[[Path], Any], sealed: bool) -> None:
        made[name] = Original(path.suffix, path.read_bytes(), answers, answers(path), sealed)

    ranker = Ranker.load(_SHIPPED / "ranker-aliked.json")
    ranker.save(folder / "ranker.json")
    add("ranker", folder / "ranker.json", _rank, True)
    for name in ("ranker", "evidence"):
        path = folder / f"{name}.json"
        if name == "evidence":
            LocalEvidence.shipped().save(path)
            add(name, path, _weigh, True)
        data = json.loads(path.read_text(encoding="utf-8"))
        del data[SEAL]
        path.write_text(json.dumps(data, indent=1), encoding="utf-8")
        add(f"{name} of an earlier version", path, _rank if name == "ranker" else _weigh, False)
    torch.manual_seed(0)
    header = {"backbone": "basic_cnn", "embedding": 8, "input_size": list(_SIZE), "mean": [0.5] * 3, "std": [0.2] * 3}
    save_embedder(folder / "network.safetensors", Embedder(BasicTrunk(), 8).eval(), header)
    add("network", folder / "network.safetensors", _embed, True)
    KeypointMetric(np.eye(16, 8, dtype=np.float32), "aliked", {}).save(folder / "metric.safetensors")
    add("metric", folder / "metric.safetensors", lambda path: KeypointMetric.load(path).matrix, True)
    torch.save({"state_dict": {"a": torch.arange(6.0), "b": torch.ones(2, 3)}}, folder / "checkpoint.pth")
    add("checkpoint", folder / "checkpoint.pth", lambda path: sorted(read_checkpoint(path)), False)
    return made


def make(originals: dict[str, Original], chance: random.Random, folder: Path) -> tuple[str, Judge]:
    """Damage one of the models."""
    name = chance.choice(sorted(originals))
    original = originals[name]
    if original.suffix == ".json" and chance.random() < 0.6:
        what, data = _edited(original.data, chance)
    elif chance.random() < 0.05:
        other = chance.choice(sorted(originals))
        what, data = f"is a {other}", originals[other].data
    else:
        what, data = damaged(original.data, chance)
    path = folder / f"hostile{original.suffix}"
    path.write_bytes(data)
    return f"{name}: {what}", lambda: _judge(path, original)


def _judge(path: Path, original: Original) -> str | None:
    found = original.answers(path)
    if original.sealed and not np.array_equal(found, original.right, equal_nan=True):
        return "a damaged model answers differently"
    return None


def _rank(path: Path) -> Any:
    ranker = Ranker.load(path)
    rows = np.random.default_rng(0).normal(size=(20, len(ranker.feature_names))).astype(np.float32)
    rows[0] = np.nan
    parts = []
    for member in ranker.members:
        parts += [member.scorer.predict(rows), member.scorer.contributions(rows).ravel()]
    return np.concatenate([*parts, ranker.calibration(parts[0], np.arange(len(rows)))])


def _weigh(path: Path) -> Any:
    evidence = LocalEvidence.load(path)
    return np.append(evidence.weights, evidence.bias)


def _embed(path: Path) -> Any:
    network, _ = load_embedder(path)
    with torch.inference_mode():
        return network(torch.linspace(0, 1, 3 * _SIZE[0] * _SIZE[1]).view(1, 3, _SIZE[1], _SIZE[0])).numpy()


def _edited(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Edit a text as a person would: another number, a word less, a line twice."""
    text = data.decode("utf-8")
    numbers = list(re.finditer(r"-?\d+(\.\d+)?(e-?\d+)?", text))
    chosen = chance.choice(numbers)
    new = chance.choice(("0", "-1", "1e999", "99999999999", "NaN", '""', "null", "[]", "{}", "1.5", "-0.25", ""))
    what, edited = f"{chosen[0]} is {new}", text[: chosen.start()] + new + text[chosen.end() :]
    if chance.random() < 0.5:  # a key, a line of the trees, or a sign less
        what, edited = _without(text, chance, chance.choice((r'"\w+": ', r"\\n[^\\]+|[{}]", r"[\[\]{},:=]")))
    return what[:80], edited.encode()


def _without(text: str, chance: random.Random, pattern: str) -> tuple[str, str]:
    found = chance.choice(list(re.finditer(pattern, text)))
    return f"without {found[0]!r}", text[: found.start()] + text[found.end() :]
