"""What has to be the same in all processes that share a work, so that an answer does not depend on who computed it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from importlib import metadata
from pathlib import Path

import features
from scarmatch import __version__
from scarmatch.errors import ScarmatchError

#: Libraries whose version can change a number.
PACKAGES = ("numpy", "scipy", "opencv-python", "torch", "kornia", "numba", "Pillow", "safetensors")

Versions = dict[str, str]


class VersionError(ScarmatchError, RuntimeError):
    """A worker has other versions than the program that asks it; the message names both."""


@lru_cache(maxsize=1)
def own_versions() -> Versions:
    """Return the versions of this process: scarmatch, a digest of its code, Python and libraries."""
    found = {"scarmatch": __version__, "code of scarmatch": _code_digest(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def compare_versions(here: Mapping[str, str], there: Mapping[str, str], worker: str) -> None:
    """Refuse a worker that is not the same as this program.

    Raises:
        VersionError: something differs.
    """
    names = dict.fromkeys([*here, *there])
    parts = [
        f"{name} is {here.get(name, 'unknown')} here and {there.get(name, 'unknown')} there"
        for name in names
        if here.get(name) != there.get(name)
    ]
    if parts:
        raise VersionError(
            f"the worker {worker} would give other answers: {'; '.join(parts)}. Install the same versions on both sides"
        )


def _code_digest() -> str:
    """Return 12 hex digits of the code that computes: a changed file makes another program of the same version."""
    digest = blake2b(digest_size=6)
    for root in (Path(next(iter(features.__path__))), Path(__file__).parents[1]):
        for path in sorted(root.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
