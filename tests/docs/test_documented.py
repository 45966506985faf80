"""Everything public is documented, and everything that is documented exists."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import scarmatch
from engine.catalogue.formats import FORMATS
from engine.search.matcher import MatcherSettings

from .conftest import DOCUMENTS, ROOT, blocks, prose

PACKAGES = ("scarmatch", "engine", "features", "reranker")
BY_NAME = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def code_spans(document: Path) -> list[str]:
    """Return what stands between single backticks, line breaks as spaces."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose(document))]


def commands_in(document: Path) -> list[list[str]]:
    """Return the words of every call of scarmatch, in blocks and in the text."""
    lines = [line for block in blocks(document) if block.language == "sh" for line in block.text.splitlines()]
    calls = []
    for line in [*lines, *code_spans(document)]:
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words and Path(words[0]).name == "scarmatch" and len(words) > 1 and words[1] != "COMMAND":
                calls.append(words[1:])
    return calls


# --- what exists is documented ----------------------------------------------------------------------------------------


def test_every_command_and_argument_says_what_it_is(pages: ModuleType) -> None:
    page = pages.command_page()
    for name, parser in pages.parsers().items():
        assert f"## scarmatch {name}\n\n{parser.description}\n" in page
        section = page.split(f"## scarmatch {name}\n")[1].split("\n## ")[0]
        for _, action in pages.arguments(parser):
            assert action.help, f"scarmatch {name}: {action.dest} has no help"
            assert pages.table_row([f"`{pages.spelling(action)}`", pages.help_of(parser, action)]) in section


def test_every_option_of_every_stage_says_what_it_is(pages: ModuleType) -> None:
    page = pages.options_page()
    for settings in pages.settings_classes():
        told, inner = pages.meanings(settings), pages.nested(settings())
        names = {field.name for field in dataclasses.fields(settings)}
        missing = sorted(names - set(told) - set(inner))
        assert not missing, f"{settings.__name__}: no word on {', '.join(missing)} (docstring, 'Attributes:')"
    for name in flat(MatcherSettings()):
        assert f"| `{name}` | " in page


def flat(settings: object, prefix: str = "") -> list[str]:
    found = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        found += flat(value, f"{prefix}{field.name}.") if dataclasses.is_dataclass(value) else [prefix + field.name]
    return found


def test_every_group_of_settings_says_how_it_is_given(pages: ModuleType) -> None:
    assert {root.__name__ for root in pages.roots()} == set(pages.SETTINGS)


def test_every_public_name_says_what_it_is(pages: ModuleType) -> None:
    page = pages.api_page()
    for name in scarmatch.__all__:
        value = getattr(scarmatch, name)
        assert inspect.getdoc(value), f"scarmatch.{name} has no docstring"
        assert value.__doc__ != getattr(value.__mro__[1], "__doc__", None) if inspect.isclass(value) else True
        assert f"\n::: {value.__module__}.{value.__qualname__}\n" in page
        for method, member in vars(value).items() if inspect.isclass(value) else ():
            if not method.startswith("_") and inspect.isroutine(member):
                assert inspect.getdoc(getattr(value, method)), f"scarmatch.{name}.{method} has no docstring"


def test_the_docstrings_of_options_are_taken_apart(pages: ModuleType) -> None:
    @dataclasses.dataclass(frozen=True)
    class Made(pages.Settings):  # type: ignore[name-defined]
        """Made up.

        Attributes:
            one: the first, which goes on
                in the next line. two: ``both`` of :class:`~a.b.Thing`.
            three, four: the same for two; five: is no option.
        """

        one: int = 1
        two: int = 2
        three: int = 3
        four: int = 4

    assert pages.meanings(Made) == {
        "one": "the first, which goes on in the next line.",
        "two": "`both` of `a.b.Thing`.",
        "three": "the same for two; five: is no option.",
        "four": "the same for two; five: is no option.",
    }


# --- what is documented exists ----------------------------------------------------------------------------------------


@BY_NAME
def test_commands_and_their_options_exist(document: Path, pages: ModuleType) -> None:
    parsers = pages.parsers()
    for words in commands_in(document):
        if words[0].startswith("-"):
            assert words[0] in ("--help", "--version")
            continue
        assert words[0] in parsers, f"{document.name}: there is no command {words[0]!r}"
        known = options_of(parsers[words[0]])
        for word in words[1:]:
            if word.startswith("--"):
                assert word.partition("=")[0] in known, f"{document.name}: scarmatch {words[0]} has no option {word}"


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {option for action in parser._actions for option in action.option_strings}


@BY_NAME
def test_options_named_by_themselves_exist(document: Path, pages: ModuleType) -> None:
    known = {option for parser in pages.parsers().values() for option in options_of(parser)}
    for span in code_spans(document):
        if span.startswith("--"):
            name = re.split(r"[ =]", span)[0]
            assert name in known, f"{document.name}: no command has the option {name}"


@BY_NAME
def test_options_of_stages_exist(document: Path) -> None:
    stages = {field.name for field in dataclasses.fields(MatcherSettings)}
    text = document.read_text(encoding="utf-8")
    named = {span for span in code_spans(document) if span.split(".")[0] in stages and re.fullmatch(r"[\w.]+", span)}
    named |= {name for name in re.findall(r"--set ([\w.]+)=", text) if name.split(".")[0] in stages}
    known = flat(MatcherSettings())
    for name in named:
        groups = {option.rpartition(".")[0] for option in known}
        assert name in known or name in groups | stages, f"{document.name}: there is no option {name}"


@BY_NAME
def test_names_of_the_package_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in set(re.findall(r"\bscarmatch\.([A-Za-z_]\w*)", text)):
        assert name in scarmatch.__all__ or find_spec(f"scarmatch.{name}"), f"{document.name}: scarmatch.{name}"


@BY_NAME
def test_files_and_modules_that_are_named_exist(document: Path) -> None:
    for span in code_spans(document):
        top = span.split("/")[0]
        if "NAME" in span:  # a file that the reader writes
            continue
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", span) and "/" in span and top in (*PACKAGES, "bench", "tests", "docs"):
            assert (folder_of(top) / span.removeprefix(top).strip("/")).exists(), f"{document.name}: no {span}"
        module = re.match(r"((?:engine|features|reranker|bench)(?:\.[a-z_]\w*)+)", span)
        module = module or re.match(r"python -m (bench(?:\.\w+)*)", span)
        if module:
            importable(module[1], document)


def folder_of(top: str) -> Path:
    spec = find_spec(top) if top in PACKAGES else None
    return Path(next(iter(spec.submodule_search_locations or []))) if spec is not None else ROOT / top


def importable(name: str, document: Path) -> None:
    """Fail unless a module, or a name in one, can be imported."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        parent, _, last = name.rpartition(".")
        assert parent, f"{document.name}: there is no {name}"
        assert hasattr(importlib.import_module(parent), last), f"{document.name}: there is no {name}"


@BY_NAME
def test_links_lead_somewhere(document: Path, pages: ModuleType) -> None:
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose(document)):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        generated = document.parent.name == "docs" and path in pages.PAGES
        there = (document.parent / path) if path else document
        assert generated or there.exists(), f"{document.name}: [{text}]({target})"
        if anchor and there.suffix == ".md" and not generated:
            headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{document.name}: [{text}]({target})"


def test_generated_parts_are_known(pages: ModuleType) -> None:
    for document in DOCUMENTS:
        filled = pages.fill(document.read_text(encoding="utf-8"))
        assert "<!-- generated" not in filled


def test_every_format_is_described() -> None:
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \| ", text.split("## Tables")[0], re.MULTILINE)) == FORMATS


def test_the_readme_is_short_and_shows_pictures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"!\[[^\]]+\]\((bench/results/[\w-]+\.png)\)", text)) >= 1


def test_a_term_stands_in_the_glossary_once() -> None:
    terms = re.findall(r"^#### (.+)$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len({term.lower() for term in terms}) == len(terms) > 30


def test_every_page_is_in_the_navigation(pages: ModuleType) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r": ([\w-]+\.md)$", text, re.MULTILINE))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")} | set(pages.PAGES)


def test_the_version_stands_in_one_place() -> None:
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "version = attr: scarmatch.__version__" in text
    assert scarmatch.__version__ not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.fullmatch(r"\d+\.\d+\.\d+", scarmatch.__version__)
