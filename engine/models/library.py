"""The models that there are: those that ship with the program, and those of a folder of the user's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from engine.models.bundle import FILE_NAME, SHIPPED_FOLDER, Model, ModelError

#: The model that is meant where none is named.
DEFAULT_MODEL = "beluga"
#: Names a folder of models, each of which can then be named by its folder's name.
FOLDER_VARIABLE = "SCARMATCH_MODELS"


def model_folders() -> Iterator[tuple[str, Path]]:
    """Yield (name, folder) of every model that can be named: those that ship first. Nothing is read."""
    folders = [SHIPPED_FOLDER]
    if own := os.environ.get(FOLDER_VARIABLE):
        folders.append(Path(own).expanduser())
    for folder in folders:
        for place in sorted(folder.glob(f"*/{FILE_NAME}")):
            yield place.parent.name, place.parent


def load_model(model: str | Path | Model) -> Model:
    """Return a model by name or folder, its files checked.

    Args:
        model: a name that :func:`model_folders` lists, the folder of a model, or a model that was read already.

    Raises:
        ModelError: there is none, or one of its files is missing or damaged.
        WeightsError: a part comes from a package that is not installed.
    """
    if isinstance(model, Model):
        return model
    named = dict(reversed(list(model_folders())))  # what ships keeps its name
    if str(model) in named:
        return Model.read(named[str(model)])
    folder = Path(model).expanduser()
    if folder.name == FILE_NAME:
        folder = folder.parent
    if (folder / FILE_NAME).is_file():
        return Model.read(folder.absolute())
    if folder.is_dir():
        raise ModelError(f"{folder} holds no {FILE_NAME}: it is no model, or its training has not ended yet")
    known = ", ".join(named)
    raise ModelError(f"no model is called {str(model)!r} and no such folder exists; known: {known}")
