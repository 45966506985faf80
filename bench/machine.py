"""What a measurement was made on and with, and the JSON files that results are kept in."""

from __future__ import annotations

import json
import math
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from scarmatch.errors import ScarmatchError

SCHEMA = 1
RESULTS = Path(__file__).parent / "results"
DISTRIBUTIONS = (
    "scarmatch",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "opencv-python",
    "kornia",
    "numba",
    "lightgbm",
    "scikit-learn",
)
# key -> types of the values that a result must hold
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "name": str,
    "created": str,
    "machine": dict,
    "settings": dict,
    "protocol": (dict, str),
    "figures": (dict, list),
}
MACHINE_KEYS = ("cpu", "cores", "memory_gib", "system", "python", "versions")


class ResultError(ScarmatchError, ValueError):
    """A result does not follow the schema; the message names the file, the key and what was expected."""


def machine_info() -> dict[str, Any]:
    """Return processor, usable cores, memory (GiB), system, Python and library versions (None if not installed).

    Versions are read from the installed packages' metadata: nothing is imported.
    """
    return {
        "cpu": _cpu_model(),
        "cores": _usable_cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in DISTRIBUTIONS},
    }


def _version(distribution: str) -> str | None:
    """Return the installed version of a distribution."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    """Return how many cores this process may use (fewer than the machine has, inside a container)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float | None:
    """Return the machine's memory in GiB, None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def write_result(
    name: str,
    figures: Mapping[str, Any] | list[Any],
    settings: Mapping[str, Any],
    protocol: Mapping[str, Any] | str,
    path: str | Path | None = None,
) -> Path:
    """Write one measurement with its machine, versions, settings and protocol.

    Args:
        name: letters, digits, "_", "-" and "."; the file's name unless ``path`` is given.
        figures: what was measured; NumPy values become plain ones, NaN and infinity become null.
        settings: the stages' options and fingerprints.
        protocol: how it was measured: queries, databases, rules, counts.
        path: file to write; ``bench/results/NAME.json`` by default.

    Returns:
        The file.

    Raises:
        ResultError: the name or a value cannot be written.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ResultError(f"result name {name!r}: use letters, digits, '_', '-' and '.' only")
    record = {
        "schema": SCHEMA,
        "name": name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_info(),
        "settings": _plain(settings),
        "protocol": _plain(protocol),
        "figures": _plain(figures),
    }
    target = Path(path) if path is not None else RESULTS / f"{name}.json"
    check_result(record, str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return target


def read_result(name_or_path: str | Path) -> dict[str, Any]:
    """Read a result by its name (in ``bench/results``) or its path.

    Raises:
        ResultError: it is missing, no JSON, or does not follow the schema.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = RESULTS / f"{name_or_path}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultError(f"{path}: no such result") from error
    except ValueError as error:
        raise ResultError(f"{path}: not JSON ({error})") from error
    check_result(record, str(path))
    return record


def check_result(record: Any, where: str) -> None:
    """Check a result against the schema.

    Raises:
        ResultError: a key is missing or unknown, or a value has the wrong type.
    """
    if not isinstance(record, dict):
        raise ResultError(f"{where}: a result is an object, not {type(record).__name__}")
    missing, unknown = sorted(REQUIRED.keys() - record.keys()), sorted(record.keys() - REQUIRED.keys())
    if missing or unknown:
        raise ResultError(f"{where}: missing keys {missing}, unknown keys {unknown}")
    for key, kind in REQUIRED.items():
        if not isinstance(record[key], kind):
            raise ResultError(f"{where}: {key!r} holds {type(record[key]).__name__}, expected {kind}")
    if record["schema"] != SCHEMA:
        raise ResultError(f"{where}: schema {record['schema']}, this version reads {SCHEMA}")
    if absent := [key for key in MACHINE_KEYS if key not in record["machine"]]:
        raise ResultError(f"{where}: 'machine' lacks {absent}")


def _plain(value: Any) -> Any:
    """Return a JSON-ready copy of nested mappings, sequences, NumPy values and numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise ResultError(f"{value!r} ({type(value).__name__}) cannot be kept in a result")
