"""Photographs linked or copied into the folders of an export."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from engine.exports.records import ExportError, few, photographs


@contextlib.contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give a folder to write into that takes the output's name when all is written; nothing is left after an error.

    Raises:
        ExportError: the output is a file, or a folder that holds something already.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ExportError(f"{output} is there already and not empty: name a new folder, nothing of it is overwritten")
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.part{os.getpid()}")
    part.mkdir()
    try:
        yield part
        if output.exists():
            output.rmdir()
        part.rename(output)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def those_there(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows of a catalogue's table whose photographs are there, and a note of the others."""
    there = table["path"].map({path: Path(path).is_file() for path in table["path"].unique()}).astype(bool)
    missing = table.loc[~there, "path"].unique()
    if not len(missing):
        return table, []
    text = f"{photographs(len(missing))} left out because the file is not there: {few(missing, 3)}"
    return table[there], [f"{text}; scarmatch check names them all"]


def place(photos: Iterable[tuple[str, Path]], how: str) -> None:
    """Link or copy photographs.

    Args:
        photos: (path of the photograph, where it goes); folders are made.
        how: "link" or "copy".

    Raises:
        ExportError: links are not possible here, the disk is full, or a photograph cannot be read.
    """
    for source, target in photos:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if how == "copy":
                shutil.copyfile(source, target)
            else:
                target.symlink_to(Path(source).absolute())
        except OSError as error:
            other = "; ask for copies instead" if how == "link" else ""
            raise ExportError(f"{source} cannot be put at {target}: {error.strerror or error}{other}") from error
