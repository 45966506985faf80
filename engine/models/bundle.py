"""A model: one folder with everything that is particular to a kind of animal, and ``model.json``, which describes it.

The folder holds networks, the metric of keypoints, weights of local evidence, the ranker with its calibration and, if
wanted, a trained head, each with size, SHA-256, licence and source; rules of orientation and other options of the
engine; the figures that it was measured with; and a card for people. A part may also be one that the program knows by
name (``scarmatch/manifest.json``): then nothing is copied, and its hash must still be the one that the model was made
with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from engine.models.decision import Decision
from features.global_descriptor.descriptor import default_model, same_descriptor
from features.keypoints.metric import AUTO, DEFAULTS, NONE
from features.weights import weight_file
from scarmatch.errors import ScarmatchError
from scarmatch.manifest import ROOT, check, file_sha256, model_files
from scarmatch.sealed_json import read_sealed, write_sealed
from scarmatch.settings import Settings, SettingsError

FORMAT = "scarmatch-model"
#: Raised whenever a folder of before would mean something else. Models of every version up to this one are read.
FORMAT_VERSION = 2
FILE_NAME, CARD_NAME = "model.json", "card.md"
#: The models that ship. Their registered parts are what the program has, so they need not repeat its hashes.
SHIPPED_FOLDER = Path(__file__).parent
#: What a part can be -> how many of it a model may hold. The order of global networks is that of their vectors.
ROLES: Mapping[str, int] = {
    "global": 8,
    "skin": 1,
    "keypoint_metric": 1,
    "first_stage_evidence": 1,
    "local_evidence": 1,
    "ranker": 1,
    "classifier_network": 1,
    "classifier_centres": 1,
}
#: How a trained head's two files are called in a folder (:mod:`features.global_descriptor.classifier`).
CLASSIFIER_FOLDER = "classifier"
#: Options of the engine that a model's parts decide.
GLOBAL_OPTION, SKIN_OPTION, METRIC_OPTION = (
    "describe.descriptor.model",
    "describe.skin.model",
    "mutual_nn.metric",
)
PART_OPTIONS = (GLOBAL_OPTION, SKIN_OPTION, METRIC_OPTION)

AnySettings = TypeVar("AnySettings", bound=Settings)


class ModelError(ScarmatchError, ValueError):
    """A model is not there, damaged, or of another version; the message names folder and file, and the way out."""


@dataclass(frozen=True)
class Part:
    """One file of a model.

    Attributes:
        role: one of :data:`ROLES`.
        file: its name in the model's folder, "" for a part that the program knows by name.
        registered: that name (``scarmatch info`` lists them), "" for a file of the folder.
        size: bytes.
        sha256: hex digest.
        licence: SPDX identifier.
        source: what it is and who made it.
    """

    role: str
    file: str
    registered: str
    size: int
    sha256: str
    licence: str
    source: str


@dataclass(frozen=True)
class Model:
    """A model that was read and whose files were checked.

    Attributes:
        name: what it is called.
        folder: where its files lie.
        summary: one line for people.
        licence: SPDX identifier of the whole.
        made_with: version of the program that wrote it.
        parts: its files.
        settings: options of the engine that it needs, by dotted name, e.g. ``{"verification.max_rotation": 180.0}``.
        animals: what it is for: ``species`` (names in lower case) and ``viewpoints``; empty for any.
        measured: the figures that it was measured with.
        decision: what ``scarmatch identify`` was tuned to; models of format version 1 have the defaults.
        ignored: dotted names of options that the caller decides, whatever the model says of them.
    """

    name: str
    folder: Path
    summary: str
    licence: str
    made_with: str
    parts: tuple[Part, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    animals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    decision: Decision = field(default_factory=Decision)
    ignored: frozenset[str] = frozenset()

    def of_role(self, role: str) -> list[Part]:
        """Return its parts of a role, in order."""
        return [part for part in self.parts if part.role == role]

    def path(self, role: str) -> Path | None:
        """Return the file of the part of a role, None where the model has none."""
        parts = self.of_role(role)
        return self.path_of(parts[0]) if parts else None

    def path_of(self, part: Part) -> Path:
        """Return where a part lies.

        Raises:
            ModelError: the program no longer knows a part by its name, or knows another one by it.
            WeightsError: a package that carries it is not installed.
        """
        return self.folder / part.file if part.file else _registered_path(self.folder, part)

    @property
    def classifier(self) -> Path | None:
        """The folder of its trained head, None where it has none."""
        network = self.path("classifier_network")
        return network.parent if network is not None else None

    def options(self) -> dict[str, Any]:
        """Return the engine's options that the model decides: those of its parts, and its own."""
        names = {
            role: ",".join(part.registered or str(self.folder / part.file) for part in self.of_role(role))
            for role in ("global", "skin", "keypoint_metric")
        }
        metric = AUTO if names["keypoint_metric"] in DEFAULTS.values() else names["keypoint_metric"] or NONE
        options = {**self.settings, METRIC_OPTION: metric}
        if names["global"]:
            same = same_descriptor(names["global"], default_model())
            options[GLOBAL_OPTION] = default_model() if same else names["global"]
        if names["skin"]:
            options[SKIN_OPTION] = names["skin"]
        return options

    def ignoring(self, names: Iterable[str]) -> Self:
        """Return the model, which leaves the options of these dotted names to the caller."""
        return replace(self, ignored=self.ignored | set(names))

    def applied(self, settings: AnySettings) -> AnySettings:
        """Return settings with the model's options, save those ignored and those that differ from their default.

        Args:
            settings: of the engine (:class:`engine.search.matcher.MatcherSettings`).

        Raises:
            ModelError: an option does not exist, or a value is none for it.
        """
        defaults, plain = type(settings)().to_dict(), settings.to_dict()
        for name, value in self.options().items():
            if name not in self.ignored and _leaf(plain, name) == _leaf(defaults, name):
                plain = _with_leaf(plain, name, value)
        try:
            return type(settings).from_dict(plain)
        except SettingsError as error:
            raise ModelError(
                f"{self.folder / FILE_NAME}: {error}; the model was made with scarmatch {self.made_with}: use that "
                "version, or train it again with `scarmatch train`"
            ) from error

    def removed_from(self, settings: AnySettings) -> AnySettings:
        """Return settings in which what the model decided has its default again: the inverse of :meth:`applied`."""
        defaults, plain = type(settings)().to_dict(), settings.to_dict()
        for name, value in self.options().items():
            if name not in self.ignored and _leaf(plain, name) == (list(value) if isinstance(value, tuple) else value):
                plain = _with_leaf(plain, name, _leaf(defaults, name))
        return type(settings).from_dict(plain)

    def options_beside(self, settings: Settings) -> dict[str, Any]:
        """Return the options of settings, by dotted name, that neither the model's parts nor the defaults decide."""
        defaults = type(settings)().to_dict()
        found = {name: value for name, value in self.settings.items() if name not in self.ignored}
        plain = self.removed_from(settings).to_dict()
        found |= {name: value for name, value in _leaves(plain) if value != _leaf(defaults, name)}
        return {name: value for name, value in found.items() if name not in PART_OPTIONS}

    def to_dict(self) -> dict[str, Any]:
        """Return what ``model.json`` holds; a model that ships does not repeat the program's own hashes."""
        ships = self.folder.parent == SHIPPED_FOLDER
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "name": self.name,
            "summary": self.summary,
            "licence": self.licence,
            "made_with": self.made_with,
            "parts": [
                {"role": part.role, "registered": part.registered} if ships and part.registered else asdict(part)
                for part in self.parts
            ],
            "settings": dict(self.settings),
            "animals": {name: list(values) for name, values in self.animals.items()},
            "measured": dict(self.measured),
            "decision": self.decision.to_dict(),
        }

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a model's folder and check every file of it.

        Raises:
            ModelError: no model, of a newer version, or one of its files is missing or damaged.
            WeightsError: a part comes from a package that is not installed.
        """
        place = folder / FILE_NAME
        try:
            data = read_sealed(place)
        except ValueError as error:
            raise ModelError(f"{place}: cannot be read as a model: {error}") from error
        if data.get("format") != FORMAT:
            raise ModelError(f"{place}: not a model of scarmatch's (`scarmatch train` writes one)")
        version = data.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise ModelError(f"{place}: its version is {version!r}, which no scarmatch ever wrote: copy it again")
        if version > FORMAT_VERSION:
            raise ModelError(
                f"{place}: made by a newer scarmatch ({data.get('made_with')}; format {version}, this one reads up to "
                f"{FORMAT_VERSION}): install that version, or train the model again with `scarmatch train`"
            )
        try:
            model = cls(folder=folder, **_fields(data, folder.parent == SHIPPED_FOLDER))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{place}: damaged: {error}; copy the model again from its source") from error
        for part in model.parts:
            _check_part(model, part)
        return model


def write_model(model: Model, files: Mapping[str, Path], card: str) -> Model:
    """Write a model's folder: files first, ``model.json`` last, so that a stopped run leaves no half model.

    Args:
        model: what it is; sizes and hashes of its parts are those of the files.
        files: name in the folder -> where it lies now (it may lie there already).
        card: text for people.
    """
    model.folder.mkdir(parents=True, exist_ok=True)
    (model.folder / FILE_NAME).unlink(missing_ok=True)
    for name, source in files.items():
        target = model.folder / name
        if source.resolve() != target.resolve():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (model.folder / CARD_NAME).write_text(card, encoding="utf-8")
    parts = tuple(
        replace(part, size=(model.folder / part.file).stat().st_size, sha256=file_sha256(model.folder / part.file))
        if part.file
        else part
        for part in model.parts
    )
    written = replace(model, parts=parts)
    partial = model.folder / f".{FILE_NAME}"
    write_sealed(partial, written.to_dict())
    partial.replace(model.folder / FILE_NAME)
    return Model.read(model.folder)


def registered_part(role: str, name: str) -> Part:
    """Return the part that the program knows by a name.

    Raises:
        ModelError: it knows none by it.
    """
    for entry in model_files():
        if entry.name == name:
            return Part(role, "", name, entry.size, entry.sha256, entry.licence, entry.source)
    raise ModelError(f"no part is called {name!r}; `scarmatch info` lists them")


def carried(part: Part) -> Part:
    """Return a part as a model takes it along when it is made of another: a file wherever the part is the program's.

    The program's own networks change from version to version, and a model must not lose one by that. Those of
    installed packages are published once and named.
    """
    entry = next((model for model in model_files() if model.name == part.registered), None)
    if entry is None or not entry.own:
        return part
    return replace(part, file=Path(entry.path).name, registered="")


def file_part(role: str, file: str, licence: str, source: str) -> Part:
    """Return a part that is a file of the model's folder; :func:`write_model` finds its size and hash."""
    return Part(role, file, "", 0, "", licence, source)


def _fields(data: Mapping[str, Any], ships: bool) -> dict[str, Any]:
    """Return the fields of a model from what its file holds (ValueError, KeyError, TypeError where it is none)."""
    known = {
        *("format", "version", "name", "summary", "licence", "made_with"),
        *("parts", "settings", "animals", "measured"),
        *(["decision"] if data["version"] > 1 else []),
    }
    if set(data) != known:
        raise ValueError(f"its values are not those of a model: {', '.join(sorted(set(data) ^ known))[:80]}")
    texts = {name: data[name] for name in ("name", "summary", "licence", "made_with")}
    if not all(isinstance(text, str) for text in texts.values()) or not re.fullmatch(r"[\w.-]{1,80}", texts["name"]):
        raise ValueError("its name or another text is no text")
    parts = tuple(
        registered_part(part["role"], part["registered"])
        if ships and set(part) == {"role", "registered"}
        else Part(**part)
        for part in data["parts"]
    )
    for part in parts:
        _check_entry(part)
    for role, most in ROLES.items():
        if sum(part.role == role for part in parts) > most:
            raise ValueError(f"more than {most} part(s) of the role {role!r}")
    if ("classifier_network" in {p.role for p in parts}) != ("classifier_centres" in {p.role for p in parts}):
        raise ValueError("a trained head needs both its network and its centres")
    settings = {str(name): tuple(v) if isinstance(v, list) else v for name, v in dict(data["settings"]).items()}
    animals = {str(name): tuple(map(str, values)) for name, values in dict(data["animals"]).items()}
    tables = {"settings": settings, "animals": animals, "measured": dict(data["measured"])}
    return {**texts, "parts": parts, **tables, "decision": Decision.from_dict(data.get("decision", {}))}


def _check_entry(part: Part) -> None:
    texts = (part.role, part.file, part.registered, part.sha256, part.licence, part.source)
    if not all(isinstance(text, str) for text in texts) or not isinstance(part.size, int):
        raise ValueError("an entry of its parts is none")
    if part.role not in ROLES:
        raise ValueError(f"no part has the role {part.role[:40]!r}")
    if bool(part.file) == bool(part.registered):
        raise ValueError(f"the part {part.role!r} must be either a file or a registered name")
    inside = Path(part.file)
    if part.file and (inside.is_absolute() or ".." in inside.parts or "\\" in part.file):
        raise ValueError(f"the part {part.role!r} lies outside the folder: {part.file[:60]!r}")


def _check_part(model: Model, part: Part) -> None:
    """Refuse a part that is missing, damaged, or cannot be named in the engine's options."""
    path = model.path_of(part)
    if not part.file:
        return
    if not path.is_file():  # never open a pipe or a device
        raise ModelError(f"{path}: this part of the model {model.name!r} is missing: copy the whole folder again")
    if not path.resolve().is_relative_to(model.folder.resolve()):
        raise ModelError(f"{path} is a link that leads out of the model's folder: copy the file itself there")
    found = file_sha256(path)
    if path.stat().st_size != part.size or found != part.sha256:
        raise ModelError(
            f"{path} is damaged (SHA-256 {found[:12]}..., the model {model.name!r} was made with {part.sha256[:12]}"
            "...): copy the model again, or train it again"
        )
    if part.role == "global" and "," in str(path):
        raise ModelError(f"{path}: a comma separates descriptors: move the model to a folder without one")


def _registered_path(folder: Path, part: Part) -> Path:
    entry = next((model for model in model_files() if model.name == part.registered), None)
    if entry is None:
        raise ModelError(f"{folder / FILE_NAME}: no part is called {part.registered!r} in this version of scarmatch")
    if entry.sha256 != part.sha256:
        raise ModelError(
            f"{folder / FILE_NAME}: made with another {part.registered!r} (SHA-256 {part.sha256[:12]}..., this version "
            f"has {entry.sha256[:12]}...): use the scarmatch that made it, or train it again with `scarmatch train`"
        )
    if not entry.own:
        return weight_file(entry.name)
    path = ROOT / entry.package / entry.path
    if not path.is_file():
        raise ModelError(f"{path}: this part of scarmatch is missing: reinstall scarmatch")
    check(path, entry)
    return path


def _leaf(options: Mapping[str, Any], name: str) -> Any:
    """Return a value of nested options by its dotted name, None where there is none; tuples as lists."""
    value: Any = options
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return list(value) if isinstance(value, tuple) else value


def _leaves(options: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every plain value of nested options; tuples as lists."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", list(value) if isinstance(value, tuple) else value


def _with_leaf(options: Mapping[str, Any], name: str, value: Any) -> dict[str, Any]:
    """Return nested options with one value changed by its dotted name."""
    head, _, rest = name.partition(".")
    inner = options.get(head)
    if rest:
        value = _with_leaf(inner if isinstance(inner, Mapping) else {}, rest, value)
    return {**options, head: value}
