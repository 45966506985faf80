"""What `info` tells is what is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.commands.info import collect_info, render_info
from features.store import FeatureStore
from features.weights import known_weights, locate


def test_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put("a", {})
    info = collect_info(tmp_path)
    weights = {weight["name"]: weight for weight in info["weights"]}
    smallest = min((model for model in known_weights() if locate(model)), key=lambda model: model.size)
    path = locate(smallest)
    assert path is not None
    assert weights[smallest.name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info["store"]["entries"] == 1
    text = render_info(info)
    assert "lightglue-aliked" in text
    assert "Apache-2.0" in text
    assert str(tmp_path) in text
