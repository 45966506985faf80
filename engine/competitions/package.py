"""The challenge's code-execution form: one archive that answers the container's questions without network.

"Where's Whale-do?" was a code-execution challenge: an archive with ``main.py`` at its root is unpacked in a container
whose folder ``data`` holds metadata.csv, images/, query_scenarios.csv, queries/ and databases/, and ``main.py`` writes
``submission/submission.csv``. The archive carries this program's own packages (not the measurements), the trained
models, and every file of weights that its settings need, so that only the usual libraries must be installed.

The container gave three hours: :mod:`engine.competitions.running_time` reckons what the ten scenarios take.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import scarmatch
from engine.catalogue.problems import CatalogError
from engine.models.bundle import CARD_NAME, FILE_NAME, Model
from engine.models.bundle import SHIPPED_FOLDER as SHIPPED_MODELS
from engine.models.library import DEFAULT_MODEL
from engine.search.matcher import Matcher, MatcherSettings
from features.global_descriptor.descriptor import SHIPPED_FOLDER, find_models
from features.keypoints.metric import SHIPPED_FOLDER as METRICS_FOLDER
from features.keypoints.metric import find_metric
from features.skin.descriptors import SHIPPED_FOLDER as MARKS_FOLDER
from features.skin.descriptors import find_skin_model
from features.weights import ModelFile, known_weights, weight_file
from scarmatch.settings import SettingsError

#: The packages that answer questions, and the files of theirs that are needed.
PACKAGES = ("scarmatch", "engine", "features", "reranker")
SUFFIXES = (".py", ".html", ".css", ".js", ".json", ".safetensors", ".md")

MAIN = '''"""Answers the questions in data/ and writes submission/submission.csv. Made by `scarmatch package`."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# Weights come from this archive, nothing is fetched.
os.environ["SCARMATCH_WEIGHTS"] = str(HERE / "weights")


def main():
    container = Path("/code_execution")
    root = container if (container / "data").is_dir() else HERE
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=root / "data", help="the container's data folder")
    parser.add_argument("--output", type=Path, default=root / "submission" / "submission.csv", help="file to write")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    options = parser.parse_args()

    from engine.competitions.challenge import rank_challenge
    from engine.search.matcher import Matcher, MatcherSettings
    from engine.competitions.submission_check import check_submission

    recipe = json.loads((HERE / "recipe.json").read_text(encoding="utf-8"))
    settings = MatcherSettings.from_dict(recipe["settings"])
    ranker = HERE / recipe["ranker"] if recipe["ranker"] not in (None, "fusion") else recipe["ranker"]
    model = HERE / recipe["model_folder"] if recipe["model_folder"] else recipe["model"]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as store:
        matcher = Matcher(settings, store, ranker, options.workers, model=model)
        run = rank_challenge(options.data, options.output, matcher, announce=lambda line: print(line, flush=True))
        matcher.close()
    faults = [fault for fault in check_submission(run.submission, run.scenarios) if fault.severity == "error"]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    print(f"{len(run.submission)} rows written to {options.output}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
'''


def write_package(
    output: Path | str,
    settings: MatcherSettings,
    ranker: str | Path | None = None,
    model: str | Path | Model = DEFAULT_MODEL,
) -> list[str]:
    """Write the archive and return the names in it.

    Args:
        output: the .zip file.
        settings: the engine's :class:`engine.search.matcher.MatcherSettings`.
        ranker: a ranker's file, "fusion" for none, or None for the model's where it fits.
        model: what is particular to the animals; a folder of the user's own is carried whole.

    Raises:
        CatalogError: the archive's folder does not exist.
        SettingsError: a descriptor lies in a file of its own that cannot be carried under its name.
        WeightsError: a file of weights is missing here.
    """
    target = Path(output)
    if not target.absolute().parent.is_dir():
        raise CatalogError(f"{target.absolute().parent}: no such folder for the archive")
    matcher = Matcher(settings, ranker=ranker, model=model)
    recipe, carried = _recipe(matcher, ranker)
    files = {f"{package.name}/{name}": file for package in _packages() for name, file in _files_of(package)}
    files |= carried
    weights = _weights(matcher.settings)
    files |= {f"weights/{Path(model.path).name}": weight_file(model.name) for model in weights}
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("main.py", MAIN)
            archive.writestr("recipe.json", json.dumps(recipe, indent=1) + "\n")
            archive.writestr("weights/LICENCES.txt", _licences(weights))
            for name in sorted(files):
                archive.write(files[name], name)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return ["main.py", "recipe.json", "weights/LICENCES.txt", *sorted(files)]


def _packages() -> list[Path]:
    root = Path(scarmatch.__file__).resolve().parents[1]
    return [root / name for name in PACKAGES]


def _files_of(package: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(package.rglob("*")):
        if file.is_file() and file.suffix in SUFFIXES and "__pycache__" not in file.parts:
            yield file.relative_to(package).as_posix(), file


def _recipe(matcher: Matcher, ranker: str | Path | None) -> tuple[dict[str, Any], dict[str, Path]]:
    """Return what main.py reads, and the files of the user's own that must be carried."""
    model, carried = matcher.model, _model_files(matcher.model)
    # What the model decides, it decides again where the archive is unpacked.
    settings = model.removed_from(matcher.settings)
    names = []
    for source in find_models(settings.describe.descriptor.model):
        if source.kind == "timm":
            raise SettingsError(f"{source.name}: a backbone of timm cannot be carried; train it into a file of its own")
        own = source.kind == "trained" and source.path.parent != SHIPPED_FOLDER
        names.append(source.path.stem if own else source.name)
        if own:
            # By its stem it is found among the shipped models, wherever the archive is unpacked.
            target = f"features/models/{source.path.stem}.safetensors"
            if target in carried or (SHIPPED_FOLDER / f"{source.path.stem}.safetensors").is_file():
                raise SettingsError(f"two descriptors are called {source.path.stem!r}: rename {source.path}")
            carried[target] = source.path
    kind = settings.describe.keypoints.kind
    if ranker is not None and matcher.ranker is not None:
        carried["ranker.json"] = Path(ranker)
    packed = settings.with_option("describe.descriptor.model", ",".join(names))
    marks, metric = find_skin_model(settings.describe.skin.model), find_metric(settings.mutual_nn.metric, kind)
    own_files = (
        ("networks of dense skin descriptors", "describe.skin.model", marks, MARKS_FOLDER),
        ("metrics of keypoints", "mutual_nn.metric", metric, METRICS_FOLDER),
    )
    for what, option, file, shipped in own_files:
        if file is None or file.parent == shipped:
            continue
        if (shipped / file.name).is_file():
            raise SettingsError(f"two {what} are called {file.stem!r}: rename {file}")
        carried[f"features/models/{shipped.name}/{file.name}"] = file
        packed = packed.with_option(option, file.stem)
    recipe = {
        "model": model.name,
        "model_folder": "model" if f"model/{FILE_NAME}" in carried else None,
        "settings": packed.to_dict(),
        "ranker": "ranker.json" if "ranker.json" in carried else ranker and "fusion",
    }
    return recipe, carried


def _model_files(model: Model) -> dict[str, Path]:
    """Return the files of a model of the user's own; those that ship are in the packages."""
    if model.folder.parent == SHIPPED_MODELS:
        return {}
    names = [FILE_NAME, CARD_NAME, *(part.file for part in model.parts if part.file)]
    return {f"model/{name}": model.folder / name for name in names if (model.folder / name).is_file()}


def _weights(settings: MatcherSettings) -> list[ModelFile]:
    """Return the registered files of weights that the settings read at run time."""
    keypoints = settings.describe.keypoints
    wanted = {
        "aliked": (keypoints.model, "lightglue-aliked"),
        "disk": ("disk", "lightglue-disk"),
        "xfeat": ("xfeat", "lighterglue-xfeat"),
        "sift": (),
    }[keypoints.kind]
    models = [name.strip() for name in settings.describe.descriptor.model.split(",")]
    return [model for model in known_weights() if model.name in (*wanted, *models)]


def _licences(weights: Sequence[ModelFile]) -> str:
    return "".join(f"{Path(m.path).name}: {m.source}; {m.licence}; sha256 {m.sha256}\n" for m in weights)
