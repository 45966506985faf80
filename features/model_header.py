"""The JSON header of a file of trained weights, and what is wrong with one. Torch is not imported."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scarmatch.errors import ScarmatchError

FORMAT = 1
HEADER_KEY, CHECKSUM_KEY = "scarmatch", "sha256"


class ModelFileError(ScarmatchError, ValueError):
    """A model file is missing, damaged, or of another kind; the message names it."""


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON header of a file that :func:`features.model_file.write_tensors` wrote; no tensor is looked at.

    Raises:
        ModelFileError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():  # never open a pipe or a device
        raise ModelFileError(f"{path} is no file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{path} cannot be read as a model file: {error}") from error
    return header_of(path, header_text(path, metadata))


def header_text(path: Path, metadata: Mapping[str, str]) -> str:
    """Return the header as it is written among a file's metadata.

    Raises:
        ModelFileError: there is none, or something beside it that nobody writes.
    """
    text = metadata.get(HEADER_KEY)
    if text is None:
        raise ModelFileError(f"{path} is a safetensors file, but not one of scarmatch's (its header does not say so)")
    if set(metadata) - {HEADER_KEY, CHECKSUM_KEY, "format"}:  # the checksum's own name may be what is damaged
        raise ModelFileError(f"{path} is damaged (its header has unknown parts): copy it again from its source")
    return text


def header_of(path: Path, text: str) -> dict[str, Any]:
    """Return what a header says.

    Raises:
        ModelFileError: it is no JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged (its header is no JSON): copy it again from its source") from error
    if not isinstance(header, dict):
        raise ModelFileError(f"{path} is damaged (its header is no table): copy it again from its source")
    return header


def of_kind(path: Path, header: dict[str, Any], kind: str, version: int, what: str) -> None:
    """Refuse a file of another kind, or of another format of its kind.

    Args:
        what: what is wanted, in the plural or with its article.

    Raises:
        ModelFileError: the header says something else.
    """
    if header.get("kind") != kind or header.get("format") != version:
        raise ModelFileError(
            f"{path} is of kind {header.get('kind')!r}, format {header.get('format')!r}; {what} of kind {kind!r}, "
            f"format {version}"
        )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever building a model from a file's header and tensors raises into a line that names the file.

    Raises:
        ModelFileError: a value of the header is missing or of another type, or a tensor is.
    """
    try:
        yield
    except ScarmatchError:
        raise
    except Exception as error:  # headers come from strangers, and networks check their arguments in their own ways
        raise ModelFileError(f"{path} cannot be used: its header or tensors are not a model's ({error!r})") from error
