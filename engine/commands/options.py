"""Options that several commands share, and what they mean for the engine."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from engine.catalogue.catalog import Catalog
from engine.catalogue.formats import FORMATS
from engine.commands.console import say
from engine.models.bundle import Model
from engine.models.choice import choose_model
from engine.models.library import DEFAULT_MODEL, load_model
from engine.search.matcher import Matcher, MatcherSettings
from scarmatch.settings import Settings, SettingsError

AnySettings = TypeVar("AnySettings", bound=Settings)


class Command(NamedTuple):
    """One command of a family: how its arguments are declared, and what runs them and returns the exit status."""

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return value


def count(text: str) -> int:
    """Read a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return value


def finite(text: str) -> float:
    """Read a number that is neither infinite nor NaN."""
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError("must be a finite number")
    return value


def output_file(text: str) -> Path:
    """Read the path of a file to write: its folder must be there before hours are spent on what it will hold."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {path.absolute().parent} does not exist: make it first")
    return path


def output_folder(text: str) -> Path:
    """Read the path of a folder to write into; it need not be there, but no file may stand in its way."""
    path = Path(text)
    for place in (path, *path.absolute().parents):
        if place.exists() and not place.is_dir():
            raise argparse.ArgumentTypeError(f"{place} is a file; name a folder")
    return path


def shown_candidates(text: str) -> int:
    """Read how many of a query's candidates something is done for: 0 to 20, which is how many are shown."""
    value = int(text)
    if not 0 <= value <= 20:
        raise argparse.ArgumentTypeError("must be from 0 to 20: so many candidates are shown")
    return value


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """Add the catalogue as the command's argument, and its layout."""
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="folder, CSV or COCO file")
    add_format(parser)


def add_catalog_option(parser: argparse.ArgumentParser, text: str = "folder, CSV or COCO file") -> None:
    """Add the catalogue as ``--catalog``, and its layout."""
    parser.add_argument("--catalog", type=Path, required=True, help=text)
    add_format(parser)


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add the catalogue's layout."""
    parser.add_argument(
        "--format",
        default="auto",
        choices=("auto", *FORMATS),
        help="layout of the catalogue (default: found out)",
    )


#: ``--effort``: so many of the photographs that were scored for a query are matched and verified; 0 is all of them.
EFFORTS: dict[str | None, int] = {"quick": 50, "normal": 200, "thorough": 0}
#: So many pairs of each list's own candidates are matched then (normal: as the settings say).
_NEIGHBOUR_PAIRS: dict[str | None, int] = {"quick": 100, "thorough": 1000}


def add_engine_options(parser: argparse.ArgumentParser, ranker: bool = True) -> None:
    """Add the options of :func:`settings_from` and :func:`matcher_from`."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--model",
        metavar="NAME|FOLDER",
        help="everything that is particular to the animals: a name of `scarmatch models`, or a model's folder "
        "(default: the one that ships and suits the catalogue, which is said)",
    )
    group.add_argument("--store", type=Path, help="folder that keeps what was computed (default: your cache folder)")
    group.add_argument(
        "--workers", type=positive, help="processes (default: one per core); answers do not depend on it"
    )
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="let a dask cluster work instead: tcp://HOST:8786 of its scheduler, or local:N for one of its own with N "
        "processes; store and photographs lie where all workers see them; answers do not depend on it",
    )
    group.add_argument(
        "--device", choices=("cpu", "cuda"), help="where networks run (default: a GPU where there is one)"
    )
    group.add_argument("--keypoints", choices=("aliked", "disk", "xfeat", "sift"), help="keypoint type")
    group.add_argument(
        "--effort",
        choices=tuple(EFFORTS),
        help="how many photographs are matched and verified for a query, after all were scored: quick 50, normal 200 "
        "(default), thorough all of them; and how many pairs of these are matched with one another: 100, 200, 1000",
    )
    group.add_argument("--shortlist", type=positive, metavar="N", help="the same as a number, instead of --effort")
    group.add_argument(
        "--rescore",
        type=int,
        metavar="N",
        help="of these, the best that LightGlue re-scores (0); a ranker heeds it if it was trained with it "
        "(train-ranker --rescore N)",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.OPTION=VALUE",
        dest="overrides",
        help="any other option, e.g. --set describe.keypoints.max_keypoints=256, or another part than the model's, "
        "e.g. --set describe.descriptor.model=FILE (may be repeated)",
    )
    if ranker:
        group.add_argument("--ranker", metavar="FILE", help='another ranker than the model\'s, or "fusion" for none')


def model_from(options: argparse.Namespace, catalog: Catalog | None = None) -> Model:
    """Return the model that the command line names; what it sets by itself is left to it.

    Args:
        options: of the command line.
        catalog: what is searched: where no model is named, the one that suits it is taken, and said.

    Raises:
        ModelError: there is no such model, or one of its files is missing or damaged.
    """
    said = [override.partition("=")[0] for override in options.overrides]
    name = options.model or DEFAULT_MODEL
    if options.model is None and catalog is not None:
        choice = choose_model(catalog)
        name = choice.name
        if name != DEFAULT_MODEL:
            say(f"model: {name}, because {choice.reason} (another: --model NAME|FOLDER)")
            if "describe.rotations" not in said and catalog.table["viewpoint"].isna().all():
                say("no photograph names its view: animals at any angle are found with --set describe.rotations=8")
    return load_model(name).ignoring(said)


def settings_from(options: argparse.Namespace, model: Model) -> MatcherSettings:
    """Return the engine's settings that the model and the command line ask for.

    Raises:
        SettingsError: an option or value is unknown.
    """
    settings = model.applied(MatcherSettings())
    named = {
        "describe.keypoints.kind": options.keypoints,
        "shortlist.size": options.shortlist or EFFORTS.get(options.effort),
        "shortlist.neighbour_pairs": _NEIGHBOUR_PAIRS.get(options.effort),
        "shortlist.rescore": options.rescore,
    }
    for name, value in named.items():
        if value is not None:
            settings = settings.with_option(name, str(value))
    return with_overrides(settings, options.overrides)


def with_overrides(settings: AnySettings, overrides: Sequence[str]) -> AnySettings:
    """Return settings changed by the texts of ``--set OPTION=VALUE``.

    Raises:
        SettingsError: a text has no "=", or the option or value is unknown.
    """
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(
                f"--set {override}: write OPTION=VALUE, with the stage before a dot where there are stages"
            )
        settings = settings.with_option(name, value)
    return settings


def matcher_from(options: argparse.Namespace, catalog: Catalog | None = None) -> Matcher:
    """Return the matcher that the command line asks for; ``catalog`` as for :func:`model_from`."""
    model = model_from(options, catalog)
    matcher = Matcher(
        settings_from(options, model),
        store=options.store,
        ranker=getattr(options, "ranker", None),
        workers=options.workers,
        device=options.device,
        model=model,
        cluster=options.cluster,
    )
    if matcher.cluster is not None:
        say(f"cluster: {matcher.cluster.workers} workers; dashboard: {matcher.cluster.dashboard or 'none'}")
    return matcher
