"""Results: the figures of one measurement, with the machine, settings and protocol that they were made by, as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench.figures import Figures, to_plain
from scarmatch.errors import ScarmatchError

F = TypeVar("F", bound=Figures)
SCHEMA = 2
RESULTS = Path(__file__).parent / "results"
DISTRIBUTIONS = ("scarmatch", "torch", "numpy", "scipy", "pandas", "opencv-python", "kornia", "numba", "lightgbm")
#: key -> type of the values that a result must hold.
REQUIRED = {"schema": int, "name": str, "created": str, "machine": dict, "settings": dict, "protocol": dict}
MACHINE: dict[str, Any] = {
    "cpu": str,
    "cores": int,
    "memory_gib": (float, type(None)),
    "system": str,
    "python": str,
    "versions": dict,
}


class ResultError(ScarmatchError, ValueError):
    """A result does not follow the schema; the message names the file, the key and what was expected."""


@dataclass(frozen=True)
class Result(Generic[F]):
    """One measurement.

    Attributes:
        name: of the measurement.
        created: when, ISO 8601 in UTC.
        machine: see :func:`machine_info`.
        settings: the stages' options.
        protocol: how it was measured: catalogue, individuals, numbers of queries, seeds.
        figures: what was found.
    """

    name: str
    created: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    protocol: Mapping[str, Any]
    figures: F

    @property
    def cpu(self) -> str:
        """The machine in words."""
        return f"{self.machine['cpu']}, {self.machine['cores']} cores"


def machine_info() -> dict[str, Any]:
    """Return processor, usable cores, memory (GiB), system, Python and library versions (None if not installed)."""
    return {
        "cpu": _cpu_model(),
        # Fewer than the machine has, inside a container.
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in DISTRIBUTIONS},
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def new_result(name: str, figures: F, settings: Mapping[str, Any], protocol: Mapping[str, Any]) -> Result[F]:
    """Return a result of now, on this machine."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Result(name, created, machine_info(), settings, protocol, figures)


def write_result(result: Result[F], folder: Path = RESULTS) -> Path:
    """Write a result as ``NAME.json`` and return the file."""
    record = {
        "schema": SCHEMA,
        "name": result.name,
        "created": result.created,
        "machine": to_plain(result.machine),
        "settings": to_plain(result.settings),
        "protocol": to_plain(result.protocol),
        "figures": result.figures.to_json(),
    }
    path = folder / f"{result.name}.json"
    _check(record, str(path))
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_result(path: Path, figures: type[F]) -> Result[F]:
    """Read a result.

    Raises:
        ResultError: it is missing, no JSON, or does not follow the schema.
        FiguresError: its figures are those of another version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultError(f"{path}: no such result") from error
    except ValueError as error:
        raise ResultError(f"{path}: not JSON ({error})") from error
    _check(record, str(path))
    found = figures.from_json(record["figures"])
    about = {key: record[key] for key in ("name", "created", "machine", "settings", "protocol")}
    return Result(**about, figures=found)


def _check(record: Any, where: str) -> None:
    if not isinstance(record, dict):
        raise ResultError(f"{where}: a result is an object, not {type(record).__name__}")
    wanted = {*REQUIRED, "figures"}
    if record.keys() != wanted:
        raise ResultError(
            f"{where}: missing keys {sorted(wanted - record.keys())}, unknown keys {sorted(record.keys() - wanted)}"
        )
    for key, kind in REQUIRED.items():
        if not isinstance(record[key], kind):
            raise ResultError(f"{where}: {key!r} holds {type(record[key]).__name__}, expected {kind.__name__}")
    if record["schema"] != SCHEMA:
        raise ResultError(f"{where}: schema {record['schema']}, this version reads {SCHEMA}: measure it again")
    if wrong := [key for key, kind in MACHINE.items() if not isinstance(record["machine"].get(key, ...), kind)]:
        raise ResultError(f"{where}: 'machine' lacks {wrong}")
