"""One model for a species from its labelled photographs: every part in the right order, honestly measured.

Individuals are divided into folds. The parts that see photographs (metric of keypoints, skin network, global
descriptor) are trained once without each fold and once on all; the photographs of a fold ask the whole catalogue with
the parts that never saw their individuals. On that evidence the ranker, its calibration and the weights of local
evidence are fitted, out of fold again; the figures of the report card are those of individuals that nothing has seen.
What ships in the model are the parts of all. Of three ways (the base model as it is, a ranker of one's own on the base
model's parts, parts of one's own as well) the simplest goes into the model that no other beats.

Nothing that was computed is lost: descriptions and pairs are in the store, finished parts and checkpoints in the folder
``work`` of the model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.models.bundle import GLOBAL_OPTION, Model
from engine.models.card import MethodFigures, ReportCard, Step, duration
from engine.search.matcher import Matcher, MatcherSettings
from engine.training.decision import tuned_decision
from engine.training.fold_parts import PHOTOGRAPH_PARTS, FoldSettings, reason_of_nothing, train_part
from engine.training.model_figures import Answers, figures_of, out_of_fold_answers, reliability_of, worst_answers
from engine.training.model_writing import write_trained
from engine.training.plan import FEWEST_TEACHERS, SHOWN, ModelTrainSettings, Plan, make_plan, teachers_of
from engine.training.ranker_training import choose_queries, labelled_pairs
from features.training.settings import RANDOM, TrainSettings, told_of_random
from features.training.skin_settings import SkinTrainSettings
from reranker.local_evidence import FIRST_STAGE_TERMS, LocalEvidence, compared, cross_fitted
from reranker.protocols import assign_folds, protocol_tables
from reranker.training import TrainedRanker, train_ranker
from reranker.training_settings import TrainingSettings
from scarmatch import __version__
from scarmatch.metrics import auc, paired_bootstrap

log = logging.getLogger(__name__)

#: mAP@20 that a less simple way must win to go into the model.
_MIN_GAIN = 0.005
_WORST = 10
#: Times the planned time from which the plan is told again.
_SLOW = 1.3
OWN_RANKER, OWN_PARTS = "own ranker", "own parts and ranker"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """What a training made.

    Attributes:
        model: written and read again.
        card: what is told of it.
        index: the catalogue as the model's matcher describes it.
        matcher: with the model.
    """

    model: Model
    card: ReportCard
    index: CatalogIndex
    matcher: Matcher


@dataclass
class _Run:
    """What a training's steps share: the announcer, the stages' progress, and how long each took."""

    announce: Callable[[str], None]
    progress: Callable[[str], Callable[[int, int], None] | None]
    taken: dict[str, float] = dataclasses.field(default_factory=dict)

    @contextmanager
    def step(self, step: Step, label: str = "") -> Iterator[None]:
        """Say that a step, or the piece of it that has a label, begins, and note its time."""
        self.announce(label or step.name)
        started = time.monotonic()
        yield
        self.taken[step.name] = self.taken.get(step.name, 0.0) + time.monotonic() - started

    def records(self, label: str) -> Callable[[dict[str, Any]], None]:
        """Return what takes a training's records (stage, done, total) as progress."""
        shown: dict[str, Callable[[int, int], None] | None] = {}

        def show(record: dict[str, Any]) -> None:
            name = f"{label}: {record['stage']}"
            bar = shown.setdefault(name, self.progress(name))
            if bar is not None:
                bar(int(record["done"]), int(record["total"]))

        return show


def train_model(
    catalog: Catalog,
    base: Matcher,
    output: Path | str,
    settings: ModelTrainSettings | None = None,
    announce: Callable[[str], None] = lambda _: None,
    progress: Callable[[str], Callable[[int, int], None] | None] = lambda _: None,
) -> TrainedModel:
    """Train a model on a labelled catalogue, measure it, and write its folder.

    A stopped training goes on where it was if it is started again with the same catalogue and settings.

    Args:
        catalog: photographs with individuals; dates, viewpoints and encounters help, and none is needed.
        base: the matcher of the model to start from: its parts serve wherever none is trained.
        output: the model's folder.
        settings: the parts, and the time.
        announce: called with each line for the user, the plan first.
        progress: stage -> what is called with (done, total) of it.

    Raises:
        CatalogError: too few individuals were photographed twice.
        TrainingError: too few of them have a match in a list.
    """
    settings, folder, run = settings or ModelTrainSettings(), Path(output), _Run(announce, progress)
    longest = base.settings.shortlist.longest(len(catalog))
    shown, rotations = _seconds_shown(settings, announce), base.settings.describe.rotations
    plan = make_plan(catalog, settings, base.workers, longest, shown, rotations)
    announce(plan.render())
    with run.step(plan.steps[0]):
        index = base.index(catalog, progress("describing"))
    pace = run.taken[plan.steps[0].name] / plan.steps[0].expected
    if pace > _SLOW:
        left = pace * (plan.seconds - plan.steps[0].expected)
        announce(f"this machine took {pace:.1f} times as long as planned: about {duration(left)} are left")
    work = folder / "work" / _key(index, base, settings)
    asked = choose_queries(index.catalog, plan.queries, settings.seed)
    folds = _folds(index.catalog, plan.folds, settings.seed)
    options, recipe = _train_parts(index.catalog, base, folds, plan, settings, work, run)
    raw = {}
    with run.step(plan.steps[4]):
        raw[OWN_RANKER] = _pairs(index.subset(asked), index, base, progress("matching"))
    if plan.parts:
        with run.step(plan.steps[5]):
            raw[OWN_PARTS] = _fold_pairs(index, base, asked, folds, options, progress)
    with run.step(plan.steps[6]):
        kind, descriptor = base.settings.describe.keypoints.kind, base.settings.describe.descriptor.model
        fitted = {
            name: train_ranker(table, TrainingSettings(seed=settings.seed), keypoint_kind=kind, descriptor=descriptor)
            for name, table in raw.items()
        }
        protocol = _protocol(raw[OWN_RANKER])
        answers = _answers(base, raw, fitted, protocol)
        figures = {name: figures_of(found) for name, found in answers.items()}
        chosen = _choose(figures, bool(settings.backbone))
    own = options["all"] if chosen == OWN_PARTS else {}
    weights = _first_stage(raw.get(chosen, raw[OWN_RANKER]), base, folds) if chosen in fitted else None
    card = _card(folder.name, index, base, plan, run, protocol, answers, figures, chosen)
    ranker = fitted[chosen].ranker if chosen in fitted else None
    decision = tuned_decision(raw.get(chosen, raw[OWN_RANKER]), base.model.decision)
    beside = base.model.options_beside(base.settings) | _beside(own)
    model = write_trained(folder, base.model, own, ranker, weights, card, recipe, beside, decision)
    plain = base.model.removed_from(base.settings)
    matcher = Matcher(plain, base.store_for(catalog), None, base.workers, base.device, model)
    return TrainedModel(model, card, matcher.index(catalog, progress("describing")), matcher)


def finish(trained: TrainedModel) -> None:
    """Remove what only a stopped training would have needed."""
    shutil.rmtree(trained.model.folder / "work", ignore_errors=True)


def _key(index: CatalogIndex, base: Matcher, settings: ModelTrainSettings) -> str:
    """Return what changes whenever what lies in the work folder would not fit."""
    labels = list(zip(index.contents.tolist(), index.catalog.table["individual_id"].tolist(), strict=True))
    parts = [labels, base.model.to_dict(), base.settings.to_dict(), settings.to_dict(), __version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _folds(catalog: Catalog, count: int, seed: int) -> dict[str, int]:
    """Return individual -> fold; those that can be asked are spread evenly, so that no fold is without questions."""
    known = catalog.table["individual_id"].dropna()
    teachers = teachers_of(catalog.table)
    return assign_folds(known, known.isin(teachers.index).to_numpy(float), count, seed)


def _train_parts(
    catalog: Catalog,
    base: Matcher,
    folds: Mapping[str, int],
    plan: Plan,
    settings: ModelTrainSettings,
    work: Path,
    run: _Run,
) -> tuple[dict[str, dict[str, str]], FoldSettings]:
    """Train the parts without each fold, and on all; return fold (and "all") -> the engine's options of its parts."""
    recipe = recipe_of(plan, settings)
    who = catalog.table["individual_id"].map(folds)
    options: dict[str, dict[str, str]] = {}
    by_part = dict(zip(PHOTOGRAPH_PARTS, plan.steps[1:4], strict=True))
    for name in (*map(str, range(plan.folds)), "all"):
        teaches = who.notna() & (who.astype("Int64").astype(str) != name)
        some = catalog.subset(catalog.table.loc[teaches, "image_id"].tolist())
        options[name] = {}
        for part in plan.parts:
            label = f"{part}, all" if name == "all" else f"{part}, fold {int(name) + 1} of {plan.folds}"
            with run.step(by_part[part], label):
                path = train_part(part, some, base, work / f"fold-{name}", recipe, run.records(label))
            if path is not None:
                options[name][PHOTOGRAPH_PARTS[part]] = str(path)
            else:
                run.announce(f"{label}: left out: {reason_of_nothing(part, work / f'fold-{name}')}")
    return options, recipe


def _seconds_shown(settings: ModelTrainSettings, announce: Callable[[str], None]) -> float:
    """Return what a photograph costs a backbone of one's own choice, which is built for it: a wrong name ends here."""
    if not settings.backbone:
        return SHOWN
    from features.training.steps import seconds_shown  # loads torch

    recipe = TrainSettings.recipe("colour", settings.backbone)
    seconds = seconds_shown(recipe)
    if recipe.start == RANDOM:
        announce(told_of_random(settings.backbone))
    return seconds


def recipe_of(plan: Plan, settings: ModelTrainSettings) -> FoldSettings:
    """Return how the parts are trained: on everybody that they are given, from all sides, as long as planned."""
    shared: dict[str, Any] = {"views": "all", "held_out": "none", "seed": settings.seed}
    # Half as many steps on pairs of photographs follow those on made-up views.
    skin = SkinTrainSettings(steps=max(plan.skin_steps, 1), real_steps=plan.skin_steps // 2, **shared)
    descriptor = TrainSettings.recipe("colour", settings.backbone or None)
    return FoldSettings(skin, descriptor.replace(epochs=max(plan.epochs, 1), **shared), settings.seed)


def _pairs(
    queries: CatalogIndex, database: CatalogIndex, matcher: Matcher, progress: Callable[[int, int], None] | None
) -> pd.DataFrame:
    """Return the labelled pairs; the harder question is asked too where encounters are known."""
    if database.catalog.table["encounter_id"].notna().any():
        return labelled_pairs(queries, database, matcher, progress)
    return matcher.pairs(queries, database, progress=progress, neighbours=True)


def _fold_pairs(
    index: CatalogIndex,
    base: Matcher,
    asked: list[str],
    folds: Mapping[str, int],
    options: Mapping[str, Mapping[str, str]],
    progress: Callable[[str], Callable[[int, int], None] | None],
) -> pd.DataFrame:
    """Return the pairs of every fold's queries, by parts that were trained without the fold."""
    fold_of = index.catalog.table.set_index("image_id")["individual_id"].map(folds)
    tables = []
    for name in sorted(set(options) - {"all"}):
        own = [image for image in asked if str(int(fold_of[image])) == name]
        if not own:
            continue
        matcher = with_parts(base, options[name])
        database = matcher.index(index.catalog, progress("describing"), index.store)
        tables.append(_pairs(database.subset(own), database, matcher, progress("matching")))
        matcher.close()
    return pd.concat(tables, ignore_index=True)


def _beside(options: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that go with trained parts: a descriptor of these animals may choose candidates again."""
    return {"shortlist.cosine_weight": 1.0} if GLOBAL_OPTION in options else {}


def with_parts(base: Matcher, options: Mapping[str, str]) -> Matcher:
    """Return a matcher as another, with trained parts in place of its model's and no ranker.

    Args:
        base: whose model and store serve.
        options: the engine's option of every part that was trained -> its file.
    """
    settings: MatcherSettings = base.settings
    for name, value in {**options, **_beside(options)}.items():
        settings = settings.with_option(name, str(value))
    return Matcher(
        settings, base._store, "fusion", base.workers, base.device, base.model.ignoring([*options, *_beside(options)])
    )


def _protocol(raw: pd.DataFrame) -> str:
    """Return the question that the figures are of: without the own encounter, where enough individuals have others."""
    tables = protocol_tables(raw)
    other = tables.get("other_encounter")
    if other is None or len(other) == len(tables["all"]) or "n_true" not in other:
        return "all"
    asked = other[other["n_true"] > 0]
    return "other_encounter" if asked["individual0"].nunique() >= FEWEST_TEACHERS else "all"


def _answers(
    base: Matcher, raw: Mapping[str, pd.DataFrame], fitted: Mapping[str, TrainedRanker], protocol: str
) -> dict[str, Answers]:
    """Return the answers of the base model and of everything that was fitted, to the same queries."""
    table = protocol_tables(raw[OWN_RANKER])[protocol]
    as_it_is = base.rank(table, top=len(table))
    # Nobody knows whether a photograph without a name would be right: no method is judged by it.
    named = as_it_is.dropna(subset=["individual_id"])
    found = {base.model.name: Answers.of_pairs(named, table, base.individual_model)}
    for name, trained in fitted.items():
        found[name] = out_of_fold_answers(trained, raw[name], protocol, table)
    return found


def _choose(figures: Mapping[str, MethodFigures], own_network: bool = False) -> str:
    """Return the simplest way that no other beats; a ranker of one's own always goes before the base model's.

    Whoever named a network (``own_network``) wants it for its heads too: parts of one's own go in unless they lose.
    """
    chosen = OWN_RANKER
    base = next(iter(figures))
    if figures[base].map20[0] > figures[OWN_RANKER].map20[0] + _MIN_GAIN:
        chosen = base
    least = -_MIN_GAIN if own_network else _MIN_GAIN
    if OWN_PARTS in figures and figures[OWN_PARTS].map20[0] >= figures[chosen].map20[0] + least:
        chosen = OWN_PARTS
    return chosen


def _first_stage(raw: pd.DataFrame, base: Matcher, folds: Mapping[str, int]) -> LocalEvidence | None:
    """Return weights of the first stage's measurements, None where the base model's tell pairs apart as well."""
    pairs = raw[compared(raw)]
    same = (pairs["individual0"] == pairs["individual1"]).to_numpy(bool)
    names = tuple(FIRST_STAGE_TERMS)
    fold = pairs["individual0"].map(folds).to_numpy(int)
    if min(same.sum(), (~same).sum()) < 20 or any(same[fold != k].sum() < 5 for k in np.unique(fold)):
        return None
    own = auc(cross_fitted(pairs, same, fold, names=names), same)
    theirs = auc(base.first_stage.score(pairs), same)
    log.info("area under the ROC curve of the first stage: %.4f, of the base model's weights %.4f", own, theirs)
    if own <= theirs:
        return None
    return LocalEvidence.fit_first_stage(pairs, {"auc": own, "auc_of_the_base": theirs})


def _card(
    name: str,
    index: CatalogIndex,
    base: Matcher,
    plan: Plan,
    run: _Run,
    protocol: str,
    answers: Mapping[str, Answers],
    figures: Mapping[str, MethodFigures],
    chosen: str,
) -> ReportCard:
    theirs, own = answers[base.model.name], answers[chosen]
    groups = own.truth.to_numpy(object)
    gain = paired_bootstrap(own.average_precisions(), theirs.average_precisions(), groups)
    table = index.catalog.table
    return ReportCard(
        name=name,
        base=base.model.name,
        photographs=len(table),
        individuals=int(table["individual_id"].nunique()),
        teachers=len(teachers_of(table)),
        folds=plan.folds,
        protocol=protocol,
        steps=tuple(
            dataclasses.replace(step, taken=run.taken.get(step.name, float("nan"))) if not step.skipped else step
            for step in plan.steps
        ),
        methods=dict(figures),
        chosen=chosen,
        gain=(gain.mean, gain.low, gain.high),
        reliability=reliability_of(own),
        worst=worst_answers(own, _WORST),
    )
