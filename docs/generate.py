"""The pages of the site that are made from the program itself, so that they cannot tell of another one.

A hook of MkDocs: ``commands.md`` comes from the command line's parser, ``options.md`` from the settings' docstrings,
``api.md`` from the names of ``scarmatch``, and a few files of the repository become pages (:data:`PAGES`). In any page,
``<!-- generated: NAME -->`` is replaced by what :data:`INSERTS` makes; the pictures of ``bench/results`` come along.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import scarmatch
from bench.hostile.outcome import Outcome, render
from scarmatch.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "bench" / "results"
#: The settings that are no part of others: class -> (heading, how they are given).
SETTINGS = {
    "MatcherSettings": ("The engine", "`--set STAGE.OPTION=VALUE` of every command that matches; `Matcher(settings)`"),
    "CandidateFilter": ("Candidates", "options of `scarmatch match`; `Matcher.match(..., candidates)`"),
    "IdentifySettings": ("New individuals", "options of `scarmatch identify`; `identify_photographs(...)`"),
    "KnnSettings": ("The head of nearest neighbours", "options of `scarmatch identify --head knn`"),
    "Decision": ("What a model decides by", "part of a model; options of `scarmatch identify` for one run"),
    "ExportSettings": ("Exports", "options of `scarmatch export`; `export_catalog(...)`"),
    "AuditSettings": ("Audits", "options of `scarmatch audit`; `audit_catalog(...)`"),
    "FusionSettings": ("Fusion without a ranker", "`reranker.fusion`"),
    "RankTableSettings": ("Blending by rank table", "options of `scarmatch blend`"),
    "TrainingSettings": ("Fitting a ranker", "`reranker.training`; `scarmatch train-ranker` takes the defaults"),
    "RankerSettings": ("One ranker", "`reranker.ranker`; `scarmatch train-ranker` takes the defaults"),
    "TrainSettings": ("Training a global descriptor", "`scarmatch train-descriptor --set OPTION=VALUE`"),
    "SkinTrainSettings": ("Training dense skin descriptors", "`scarmatch train-marks --set OPTION=VALUE`"),
    "KeypointTrainSettings": (
        "Training the metric of keypoints",
        "`scarmatch train-keypoints --train-set OPTION=VALUE`",
    ),
    "ModelTrainSettings": ("Training a model", "options of `scarmatch train`; `scarmatch.train_model(...)`"),
    "SpeciesSettings": ("Made-up species", "`engine.demo.species.make_species(folder, settings)`"),
    "SyntheticSettings": ("The made-up catalogue", "`engine.demo.synthetic_catalog.make_catalog(folder, settings)`"),
}


# --- command line -----------------------------------------------------------------------------------------------------


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command, in the order of ``scarmatch --help``."""
    from engine.commands.main import build_parser

    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("the parser has no commands")


def arguments(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Yield (title of its group, argument) of a command, without ``--help``."""
    for group in parser._action_groups:
        for action in group._group_actions:
            if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
                yield (group.title or "options"), action


def spelling(action: argparse.Action) -> str:
    """Return an argument as it is written: ``--top TOP``, ``QUERY``."""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = choices or (action.metavar if isinstance(action.metavar, str) else action.dest.upper())
    if not action.option_strings:
        return value
    takes = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"{option}{takes}" for option in action.option_strings)


def command_page() -> str:
    """Return the page of all commands and their arguments."""
    from engine.commands.exit_status import EXIT_STATUSES

    lines = ["# Command line", "", "Every command prints its part of this page by `scarmatch COMMAND --help`.", ""]
    lines += ["```text", EXIT_STATUSES.rstrip(), "```", ""]
    for name, parser in parsers().items():
        lines += [f"## scarmatch {name}", "", parser.description or "", "", "```text"]
        lines += [parser.format_usage().removeprefix("usage: ").rstrip(), "```", ""]
        groups: dict[str, list[argparse.Action]] = {}
        for title, action in arguments(parser):
            groups.setdefault(title, []).append(action)
        for title, actions in groups.items():
            head = {"positional arguments": "Argument", "options": "Option"}.get(title, f"Option ({title})")
            lines += table([head, "Meaning"], [[f"`{spelling(a)}`", help_of(parser, a)] for a in actions])
            lines.append("")
    return "\n".join(lines)


def help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return an argument's help with its placeholders filled in."""
    return parser._get_formatter()._expand_help(action) if action.help else ""


# --- options ----------------------------------------------------------------------------------------------------------


def settings_classes() -> list[type[Settings]]:
    """Return every class of settings of the product, by name."""
    for package in ("features", "engine", "reranker"):
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            importlib.import_module(module.name)
    classes: dict[str, type[Settings]] = {}
    waiting = Settings.__subclasses__()
    while waiting:
        one = waiting.pop()
        waiting += one.__subclasses__()
        if one.__module__.split(".")[0] in ("features", "engine", "reranker"):
            classes[one.__name__] = one
    return [classes[name] for name in sorted(classes)]


def nested(settings: Settings) -> dict[str, Settings]:
    """Return the options of settings that are settings themselves."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    return {name: value for name, value in values.items() if isinstance(value, Settings)}


def roots() -> list[type[Settings]]:
    """Return the classes of settings that are neither part nor base of another, in the order of :data:`SETTINGS`."""
    classes = settings_classes()
    inner = {type(value) for one in classes for value in nested(one()).values()}
    inner |= {one for one in classes if one.__subclasses__()}
    order = {name: place for place, name in enumerate(SETTINGS)}
    return sorted((one for one in classes if one not in inner), key=lambda one: order.get(one.__name__, len(order)))


def meanings(settings: type[Settings]) -> dict[str, str]:
    """Return what the class's docstring says of each option ("Attributes:"), as one line of Markdown.

    Several may share a line (``embedding: dimensions. dropout: before the projection.``), and one text may serve two
    (``since, until: first and last allowed date``).
    """
    found: dict[str, str] = {}
    for base in settings.__bases__:
        if base is not Settings and issubclass(base, Settings):
            found |= meanings(base)
    section = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)*)", inspect.getdoc(settings) or "", re.MULTILINE)
    text = " ".join((section[1] if section else "").split())
    names = "|".join(re.escape(field.name) for field in dataclasses.fields(settings))
    parts = re.split(rf"(?:^|(?<=[.;)] ))((?:{names})(?:, (?:{names}))*): ", text)
    for heads, body in zip(parts[1::2], parts[2::2], strict=True):
        for name in heads.split(", "):
            found[name] = roles_as_code(body.strip())
    return found


def roles_as_code(text: str) -> str:
    """Return a docstring's text with its roles and double backticks as code."""
    return re.sub(r":(?:class|func|meth|mod|data|attr):`~?([^`]+)`", r"`\1`", text).replace("``", "`")


def options_page() -> str:
    """Return the page of every option of every stage, with its default and meaning."""
    lines = ["# Options", "", "Every option of every stage, with its default. On the command line, values are written"]
    lines[-1] += " as in JSON: `true`, `0.5`, `[400, 200]`; a word stays a word, and `none` means none."
    lines.append("")
    for root in roots():
        title, how = SETTINGS.get(root.__name__, (root.__name__, ""))
        lines += [f"## {title}", "", first_paragraph(root)] + (["", f"Given by {how}."] if how else []) + [""]
        lines += _tree(root(), "", 3)
    return "\n".join(lines)


def _tree(settings: Settings, prefix: str, level: int) -> list[str]:
    told, inner = meanings(type(settings)), nested(settings)
    rows = [
        [f"`{prefix}{field.name}`", f"`{shown(getattr(settings, field.name))}`", told.get(field.name, "")]
        for field in dataclasses.fields(settings)
        if field.name not in inner
    ]
    lines = [*table(["Option", "Default", "Meaning"], rows), ""] if rows else []
    for name, value in inner.items():
        lines += [f"{'#' * level} {prefix}{name}", "", told.get(name, first_paragraph(type(value))), ""]
        lines += _tree(value, f"{prefix}{name}.", min(level + 1, 6))
    return lines


def shown(value: object) -> str:
    """Return a default as the command line would take it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else shown(v) for v in value) + "]"
    return str(value) if value != "" else '""'


def first_paragraph(thing: object) -> str:
    """Return the first paragraph of a docstring as one line of Markdown."""
    return roles_as_code(" ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()))


# --- Python -----------------------------------------------------------------------------------------------------------


def api_page() -> str:
    """Return the page of every public name, for mkdocstrings to fill from its docstring."""
    kinds: dict[str, list[str]] = {"Classes": [], "Functions": [], "Errors": []}
    for name in sorted(scarmatch.__all__):
        value = getattr(scarmatch, name)
        error = inspect.isclass(value) and issubclass(value, Exception)
        kinds["Errors" if error else "Classes" if inspect.isclass(value) else "Functions"].append(name)
    lines = ["# Python", "", first_paragraph(scarmatch), "", "All of it is imported from `scarmatch`.", ""]
    for title, names in kinds.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += [f"::: {getattr(scarmatch, name).__module__}.{getattr(scarmatch, name).__qualname__}", ""]
    return "\n".join(lines)


# --- parts of other pages ---------------------------------------------------------------------------------------------


def synonyms() -> str:
    """Return the table of the columns that a plain table may have."""
    from engine.catalogue.columns import SYNONYMS

    return "\n".join(
        table(
            ["Field", "Column names"],
            [[f"`{n}`", ", ".join(f"`{w}`" for w in words.split())] for n, words in SYNONYMS.items()],
        )
    )


def table(heads: list[str], rows: list[list[str]]) -> list[str]:
    """Return a Markdown table's lines."""
    return [table_row(row) for row in (heads, ["---"] * len(heads), *rows)]


def table_row(cells: list[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def listed(words: Any) -> str:
    """Return words as code, separated by commas."""
    return ", ".join(f"`{word}`" for word in words)


def unknown_values() -> str:
    """Return the spellings of "not known"."""
    from engine.catalogue.fields import UNKNOWN

    return listed(sorted(word for word in UNKNOWN if word))


def viewpoints() -> str:
    """Return the viewpoints that the engine knows."""
    from engine.catalogue.fields import KNOWN_VIEWPOINTS

    return listed(KNOWN_VIEWPOINTS)


def photo_endings() -> str:
    """Return the endings of the files that are read as photographs."""
    from features.photo_formats import _FORMAT_OF

    return listed(_FORMAT_OF)


def hostile() -> str:
    """Return what came of the hostile inputs, as a table."""
    figures = json.loads((PICTURES / "hostile.json").read_text(encoding="utf-8"))["figures"]["kinds"]
    return render({kind: Outcome(**counts) for kind, counts in figures.items()})


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": command_page,
    "options.md": options_page,
    "api.md": api_page,
    "changelog.md": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    "results.md": lambda: as_site((ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8"), "results/"),
    "notes.md": lambda: as_site((ROOT / "bench" / "NOTES.md").read_text(encoding="utf-8"), "results/"),
}
INSERTS: dict[str, Callable[[], str]] = {
    "synonyms": synonyms,
    "unknown-values": unknown_values,
    "viewpoints": viewpoints,
    "photo-endings": photo_endings,
    "hostile": hostile,
}
#: Where pages link to files of the repository that the site has elsewhere.
MOVED = {"../bench/RESULTS.md": "results.md", "../bench/NOTES.md": "notes.md", "../CHANGELOG.md": "changelog.md"}


# --- MkDocs -----------------------------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages and the measured pictures (called by MkDocs)."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for picture in sorted(PICTURES.glob("*.png")):
        files.append(File.generated(config, f"pictures/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the generated parts of a page, and show the pictures from where the site has them (called by MkDocs)."""
    text = as_site(fill(markdown), "../bench/results/")
    for path, page in MOVED.items():
        text = text.replace(f"]({path}", f"]({page}")
    return text


def as_site(markdown: str, results: str) -> str:
    """Return a text with links to the folder of results made for the site: pictures from there, other files as text."""
    folder = re.escape(results)
    text = re.sub(rf"\]\({folder}([\w-]+\.png)\)", r"](pictures/\1)", markdown)
    return re.sub(rf"\[([^\]]*)\]\({folder}[^)]*\)", r"\1", text)


def fill(markdown: str) -> str:
    """Replace every ``<!-- generated: NAME -->``; an unknown name is a KeyError."""
    return re.sub(r"<!-- generated: ([\w-]+) -->", lambda match: INSERTS[match[1]](), markdown)
