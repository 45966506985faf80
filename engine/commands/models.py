"""The command for models: what there is, what one holds, and how good it was measured to be."""

from __future__ import annotations

import argparse
import json
from typing import Any

from engine.commands.console import printable
from engine.commands.options import Command
from engine.models.bundle import Model
from engine.models.decision import Decision
from engine.models.library import FOLDER_VARIABLE, load_model, model_folders
from scarmatch.errors import ScarmatchError


def _models_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="tell all of these, by name or folder (default: a line for each that ships or lies in the folder that "
        f"{FOLDER_VARIABLE} names)",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _models(options: argparse.Namespace) -> int:
    if options.models:
        models = [load_model(name) for name in options.models]
        print(
            json.dumps([record(model) for model in models], indent=2)
            if options.json
            else "\n\n".join(render_model(model) for model in models)
        )
        return 0
    rows: list[dict[str, Any]] = []
    for name, folder in model_folders():
        try:
            rows.append(record(Model.read(folder)))
        except ScarmatchError as error:  # one damaged model must not hide the others
            rows.append({"name": name, "folder": str(folder), "error": str(error)})
    print(json.dumps(rows, indent=2) if options.json else "\n".join(map(_line, rows)))
    return 0


def record(model: Model) -> dict[str, Any]:
    """Return what a model is as JSON-ready values: ``model.json``, its folder and its size in bytes."""
    return {**model.to_dict(), "folder": str(model.folder), "bytes": sum(part.size for part in model.parts)}


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{printable(row['name']):<16} cannot be used: {printable(row['error'])}"
    size, summary = row["bytes"] / 1e6, printable(row["summary"])
    return f"{printable(row['name']):<16} {size:6.1f} MB  {printable(row['licence']):<12} {summary}"


def render_model(model: Model) -> str:
    """Return everything about a model as text for a terminal."""
    lines = [f"{model.name}: {model.summary}", f"folder: {model.folder}"]
    lines.append(f"licence: {model.licence}; made with scarmatch {model.made_with}")
    for name, values in model.animals.items():
        lines.append(f"{name}: {', '.join(values)}")
    for option, value in model.settings.items():
        lines.append(f"option: {option} = {json.dumps(value)}")
    for name, value in model.decision.to_dict().items():
        if value != Decision().to_dict()[name]:
            lines.append(f"identify: {name} = {json.dumps(value)}")
    for part in model.parts:
        place = part.file or f"{part.registered} (comes with scarmatch or its packages)"
        numbers = f"{part.role:<20} {part.size / 1e6:6.1f} MB  {part.sha256[:16]}  {part.licence:<12}"
        lines.append(f"  {numbers} {place}: {part.source}")
    for name, value in model.measured.items():
        lines.append(f"measured: {name}: {json.dumps(value)}")
    return "\n".join(map(printable, lines))


COMMANDS = {"models": Command(_models_arguments, _models)}
