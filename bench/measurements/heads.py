"""A network of timm's in a model, its heads and their blend: Happywhale's question on made-up animals.

``scarmatch train`` makes a model with a global descriptor on a backbone of timm, taught with the ArcFace loss by the
photographs of known animals. Further photographs of them and of animals that nobody knows are then named by the nearest
photographs (the k-NN head), by the class centres (the trained head), by the engine, and by blends of these, each
through the model's folder: five individuals a photograph, ``new_individual`` among them. The backbone is EfficientNet
Lite0 of timm's with ImageNet's weights, whose file the installed package holds in another layout, or any that is named.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.made_up_species import matcher_for, part_of, teaching_and_asked
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.competitions.blending import blend_files
from engine.competitions.happywhale import PREDICTIONS, read_happywhale_submission, write_happywhale
from engine.competitions.identification import Head, identify_photographs
from engine.demo.species import SPECIES
from engine.models.bundle import FILE_NAME, Model
from engine.models.library import load_model
from engine.search.individuals import NEW_INDIVIDUAL, IdentifySettings, KnnSettings
from engine.search.matcher import Matcher
from engine.training.model_training import train_model
from engine.training.plan import ModelTrainSettings
from features.model_header import read_header
from features.training.settings import RANDOM
from features.weights import backbone_and_file, weight_file
from scarmatch.metrics import bootstrap_by_group, reciprocal_rank

#: Timm's name of the network whose ImageNet weights an installed package holds.
_LITE = "tf_efficientnet_lite0"
_IMAGENET, _KNN, _CENTRES = (
    "nearest photographs, ImageNet's network",
    "nearest photographs, own network",
    "trained head",
)
_GENERIC, _OWN, _BOTH = "engine, generic", "engine, own model", "engine and trained head"
_BLEND = "blend by the rank table"
_VOICES = (_KNN, _CENTRES, _OWN)
#: Photographs of each animal that nobody knows.
_NEW = 2


@dataclass(frozen=True)
class Way:
    """One way to name animals: MAP@5 of all, and the first place of known animals and of new ones."""

    name: str
    map5: tuple[float, float, float]
    known_first: float
    new_first: float


@dataclass(frozen=True)
class HeadsFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        catalogue: animals and photographs that teach. asked: photographs, and those of new animals among them.
        in_model: whether the training kept its network. epochs: of it, 0 where it is not there.
        decision: neighbours that vote, and the distance beyond which an animal is new.
        blended: ways in the blend. weights: learned for them. cross_fitted: MAP@5 of weights learned on other animals.
    """

    species: str
    backbone: str
    start: str
    catalogue: tuple[int, int]
    asked: tuple[int, int]
    in_model: bool
    epochs: int
    decision: tuple[int, float]
    blended: tuple[str, ...]
    weights: tuple[float, ...]
    cross_fitted: float
    ways: tuple[Way, ...]


def measure(context: Context) -> HeadsFigures:
    """Train the model, and name the same photographs in every way."""
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(context, context.options.work or Path(temporary))


def _measure(context: Context, work: Path) -> HeadsFigures:
    options, work = context.options, work.absolute()
    catalog, asked = _catalogues(options, work)
    named = options.backbone or f"{_LITE}@{lite_of_timm(work)}"
    backbone, file = backbone_and_file(named)
    model = _trained(catalog, work, named, context)
    found, truth = _named(asked, catalog, model, work, context)
    files = [work / f"answers-{place}.csv" for place in range(len(found))]
    for path, predictions in zip(files, found.values(), strict=True):
        write_happywhale(predictions, path)
    # The second Happywhale baseline blends its networks' votes; the engine is one more voice.
    counts = {str(name): int(n) for name, n in catalog.table["individual_id"].value_counts().items()}
    voices = [place for place, name in enumerate(found) if name in _VOICES]
    blended = [files[place] for place in voices]
    equal = blend_files(blended, weights=(1.0,) * len(blended), photographs=counts)
    learned = blend_files(blended, answers=truth, photographs=counts, seed=context.seed)
    equal.write(work / "blend.csv")
    found[_BLEND] = read_happywhale_submission(work / "blend.csv")
    return HeadsFigures(
        options.species,
        backbone,
        file.name if file else RANDOM,
        (options.animals, len(catalog)),
        (len(truth), sum(who == NEW_INDIVIDUAL for who in truth.values())),
        model.classifier is not None,
        _epochs(model),
        (model.decision.neighbours, model.decision.max_distance),
        tuple(list(found)[place] for place in voices),
        learned.weights,
        float(learned.figures["cross_fitted"]),
        tuple(_way(name, predictions, truth) for name, predictions in found.items()),
    )


def _catalogues(options: argparse.Namespace, work: Path) -> tuple[Catalog, Catalog]:
    """Return the photographs that teach and are searched, and those that are asked: of the same animals, and of new."""
    teaching, others = teaching_and_asked(options.species)
    known = part_of(options.species, teaching, work, size=(options.animals, options.photographs + 1))
    new = part_of(options.species, others, work, size=(options.new, _NEW))
    last = known.table.groupby("individual_id")["image_id"].max().tolist()
    catalog = known.subset([name for name in known.ids if name not in set(last)])
    table = pd.concat([known.subset(last).table, new.table], ignore_index=True)
    return catalog, Catalog(table, known.root)


def lite_of_timm(folder: Path) -> Path:
    """Write the package's weights of EfficientNet-Lite0 as timm calls its tensors, in the same order; return the file.

    Both networks then give the same numbers (``tests/bench/test_heads.py``).
    """
    import torch
    from safetensors.torch import save_file

    from features.global_descriptor.timm_trunk import import_timm

    names = import_timm().create_model(_LITE).state_dict()
    weights = torch.load(weight_file("efficientnet_lite0"), map_location="cpu", weights_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_LITE}-imagenet.safetensors"
    save_file({name: one.contiguous() for name, one in zip(names, weights.values(), strict=True)}, path)
    return path


def _trained(catalog: Catalog, work: Path, backbone: str, context: Context) -> Model:
    folder = work / f"model-{backbone.partition('@')[0]}"
    if (folder / FILE_NAME).is_file():
        return load_model(folder)
    parts, hours = ("descriptor", "ranker"), context.options.hours
    settings = ModelTrainSettings(parts, 3600.0 * hours, backbone, context.seed, context.options.epochs)
    base = matcher_for(catalog, work, "generic", context.options.workers)
    return train_model(catalog, base, folder, settings, context.say, context.progress).model


def _epochs(model: Model) -> int:
    network = model.path("classifier_network")
    return int(read_header(network)["settings"]["epochs"]) if network is not None else 0


def _named(
    asked: Catalog, catalog: Catalog, model: Model, work: Path, context: Context
) -> tuple[dict[str, dict[str, list[str]]], dict[str, str]]:
    """Return way -> photograph -> five individuals, and whom the photographs show."""
    from features.global_descriptor.classifier import TrainedHead  # loads torch

    workers = context.options.workers
    generic, own = matcher_for(catalog, work, "generic", workers), matcher_for(catalog, work, model, workers)
    found, truth = dict[str, dict[str, list[str]]](), dict[str, str]()
    weight = model.decision.classifier_weight
    ways: list[tuple[str, Matcher, Head, float]] = [
        (_IMAGENET, generic, "knn", 0.0),
        (_GENERIC, generic, "ranker", 0.0),
    ]
    if model.classifier is not None:
        ways += [(_KNN, own, "knn", 0.0), (_CENTRES, own, "ranker", 1.0)]
    ways.append((_OWN, own, "ranker", 0.0))
    if model.classifier is not None:
        ways.append((_BOTH, own, "ranker", weight))
    for name, matcher, head, share in ways:
        context.say(name)
        decision = matcher.model.decision
        run = identify_photographs(
            asked,
            catalog,
            matcher,
            IdentifySettings(new_odds=decision.new_odds),
            head=head,
            knn=KnnSettings(decision.neighbours, decision.max_distance, decision.min_confidence),
            classifier=TrainedHead(model.classifier) if share and model.classifier is not None else None,
            classifier_weight=share,
        )
        found[name], truth = run.predictions, run.truth
    generic.close()
    own.close()
    return found, truth


def _way(name: str, predictions: Mapping[str, Sequence[str]], truth: Mapping[str, str]) -> Way:
    images = sorted(truth)
    values = [reciprocal_rank(predictions[image], truth[image], PREDICTIONS) for image in images]
    # Nobody knows which new animals are one: each photograph of them stands alone.
    groups = [truth[image] if truth[image] != NEW_INDIVIDUAL else image for image in images]
    first = np.array([predictions[image][0] == truth[image] for image in images])
    new = np.array([truth[image] == NEW_INDIVIDUAL for image in images])
    interval = bootstrap_by_group(values, groups)
    return Way(name, (interval.mean, interval.low, interval.high), float(first[~new].mean()), float(first[new].mean()))


def full(result: Result[HeadsFigures]) -> str:
    """Return the table."""
    f = result.figures
    heads = ["named by", "MAP@5", "known animals first", "new animals first"]
    rows = [
        [
            way.name,
            f"{way.map5[0]:.3f} ({way.map5[1]:.3f}–{way.map5[2]:.3f})",
            f"{way.known_first:.2f}",
            f"{way.new_first:.2f}",
        ]
        for way in f.ways
    ]
    weights = ", ".join(f"{weight:g}" for weight in f.weights)
    train = f"`scarmatch train --parts descriptor,ranker --backbone {f.backbone}@FILE`"
    kept = f" ({f.epochs} epochs)" if f.in_model else ", which left it out"
    words = (
        f"Made-up {f.species}: {f.catalogue[1]} photographs of {f.catalogue[0]} animals teach and are searched, "
        f"{f.asked[0]} others are named, {f.asked[1]} of them of new animals. Own network: {f.backbone} of timm's "
        f"from {f.start}, by {train}{kept}; its nearest {f.decision[0]} photographs vote, new beyond a distance of "
        f"{f.decision[1]:.2f}. The blend is of {', '.join(f.blended)}, with equal weights; learned ones ({weights}) "
        f"give {f.cross_fitted:.3f} on animals that they were not learned from."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--work", type=Path, help="keep photographs, store and trained model in this folder")
    parser.add_argument("--species", choices=SPECIES, default="scars", help="which made-up animals (scars)")
    parser.add_argument("--backbone", help=f"of timm, NAME[@WEIGHTS] ({_LITE} with ImageNet's weights)")
    parser.add_argument("--epochs", type=int, default=6, help="of the network (6)")
    parser.add_argument("--hours", type=float, default=8.0, help="budget of the training (8)")
    parser.add_argument("--animals", type=int, default=40, help="that teach (40)")
    parser.add_argument("--photographs", type=int, default=5, help="of each of them in the catalogue (5)")
    parser.add_argument("--new", type=int, default=10, help=f"animals that nobody knows, {_NEW} photographs each (10)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")


MEASUREMENT = Measurement(
    title="A backbone of timm's, its heads and their blend",
    figures=HeadsFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    catalog=False,
)
