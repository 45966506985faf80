"""Every file of weights that the program can load: where it lies, its size, hash, licence and source.

One list, ``manifest.json``, holds the files that ship with the program and those that installed packages carry. Each is
compared with it when it is loaded: a flipped bit would not be noticed otherwise, only answer differently.

After a training replaced a file that ships, ``python -m scarmatch.manifest`` writes its new size and hash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from scarmatch.errors import ScarmatchError

#: Where the program's own packages lie side by side.
ROOT = Path(__file__).resolve().parents[1]
OWN_PACKAGES = ("features", "reranker")
_LIST = Path(__file__).with_name("manifest.json")


class WeightsError(ScarmatchError, RuntimeError):
    """A model file is unknown, missing, or not the one that was expected; the message names the way out."""


@dataclass(frozen=True)
class ModelFile:
    """One file of weights.

    Attributes:
        name: the name by which settings ask for it.
        package: the package that carries it, one of the program's own or an installed one.
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

    @property
    def own(self) -> bool:
        """True if the file ships with the program."""
        return self.package in OWN_PACKAGES


@cache
def model_files() -> tuple[ModelFile, ...]:
    """Return every registered file, those of installed packages first."""
    return tuple(ModelFile(**entry) for entry in json.loads(_LIST.read_text(encoding="utf-8")))


def file_sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file (remembered until the file changes)."""
    state = path.stat()
    return _sha256(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check(path: Path, model: ModelFile) -> None:
    """Compare a file with its entry.

    Raises:
        WeightsError: its size or hash is another.
    """
    if path.stat().st_size != model.size or file_sha256(path) != model.sha256:
        package = "scarmatch" if model.own else model.package
        raise WeightsError(
            f"{path} is not the {model.name!r} that was tested (size or SHA-256 differs); reinstall {package}"
        )


def check_shipped(path: Path | str) -> None:
    """Compare a file with its entry if it is one of those that ship with the program; leave any other alone.

    Raises:
        WeightsError: it ships, and its size or hash is another.
    """
    resolved = Path(path).resolve()
    if resolved.is_file() and (model := _shipped().get(resolved)) is not None:
        check(resolved, model)


@cache
def _shipped() -> dict[Path, ModelFile]:
    return {ROOT / model.package / model.path: model for model in model_files() if model.own}


def renewed() -> tuple[ModelFile, ...]:
    """Return the entries with the sizes and hashes that the files that ship have now."""
    fresh = []
    for model in model_files():
        path = ROOT / model.package / model.path
        fresh.append(replace(model, size=path.stat().st_size, sha256=file_sha256(path)) if model.own else model)
    return tuple(fresh)


if __name__ == "__main__":
    _LIST.write_text(json.dumps([asdict(model) for model in renewed()], indent=1) + "\n", encoding="utf-8")
