"""Typed figures, to JSON and back.

What a measurement found is a frozen dataclass of numbers, texts, tuples, mappings, intervals and further such
dataclasses. A file that lacks a figure, or has one that nobody knows, is an error that names the place.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from scarmatch.errors import ScarmatchError


class FiguresError(ScarmatchError, ValueError):
    """Figures cannot be written or read; the message names the place and what was expected."""


class Figures:
    """Base class of what a measurement found (subclass as a frozen dataclass)."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; NaN and infinity become None."""
        plain = to_plain(self)
        assert isinstance(plain, dict)
        return plain

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Rebuild figures from :meth:`to_json`.

        Raises:
            FiguresError: a figure is missing, unknown, or of another type.
        """
        found: Self = _build(cls, data, cls.__name__)
        return found


def to_plain(value: Any) -> Any:
    """Return a JSON-ready copy of nested dataclasses, named tuples, mappings, sequences and NumPy values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, set | frozenset):
        return [to_plain(item) for item in sorted(value)]
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    raise FiguresError(f"{value!r} ({type(value).__name__}) cannot be kept in a result")


def _build(kind: Any, value: Any, where: str) -> Any:
    """Return a value of a type, from plain JSON values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _build(next(a for a in arguments if a is not type(None)), value, where)
    if origin is Literal:
        return _expect(value in arguments, value, f"one of {arguments}", where)
    if isinstance(kind, type) and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return _build_record(kind, value, where)
    if origin is tuple:
        _expect(isinstance(value, list), value, "a list", where)
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        _expect(len(kinds) == len(value), value, f"{len(kinds)} values", where)
        return tuple(_build(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict:
        _expect(isinstance(value, dict), value, "an object", where)
        return {arguments[0](key): _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float:
        if value is None:
            return math.nan
        _expect(isinstance(value, int | float) and not isinstance(value, bool), value, "a number", where)
        return float(value)
    _expect(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), value, kind.__name__, where)
    return value


def _build_record(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), value, "an object", where)
    hints = typing.get_type_hints(kind)
    missing, unknown = sorted(hints.keys() - value.keys()), sorted(value.keys() - hints.keys())
    if missing or unknown:
        raise FiguresError(f"{where}: missing figures {missing}, unknown figures {unknown}")
    return kind(**{name: _build(hints[name], value[name], f"{where}.{name}") for name in hints})


def _expect(holds: bool, value: Any, wanted: str, where: str) -> Any:
    if not holds:
        raise FiguresError(f"{where}: holds {value!r:.40}, expected {wanted}")
    return value
