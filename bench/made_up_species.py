"""The made-up species as measurements use them: their parts, described and asked, and the model that they teach.

``generic`` is fitted on the train parts of every species but the one held back::

    python -m bench.made_up_species --output engine/models/generic --work FOLDER

Its networks are ImageNet's and the keypoints' own; the ranker, its calibration and the weights of the first stage learn
from the made-up animals alone. What was computed is in the work folder: a stopped run goes on. ``--compare`` fits it
with the belugas' dense skin network and without any too, and writes no model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.demo.species import HELD_BACK, SPECIES, SpeciesSettings, make_species
from engine.models.bundle import Model, file_part, registered_part, write_model
from engine.search.matcher import Matcher, MatcherSettings
from engine.training.model_figures import Answers, figures_of, out_of_fold_answers
from features.training.skin_settings import SkinTrainSettings
from reranker.local_evidence import LocalEvidence
from reranker.ranker import RankerSettings
from reranker.training import TrainedRanker, train_ranker
from reranker.training_settings import TrainingSettings
from scarmatch import __version__
from scarmatch.metrics import paired_bootstrap

#: Animals and photographs of each in a train part and in a test part.
SIZES = {"train": (8, 6), "test": (8, 6)}
#: What the general model asks of the engine, beside its parts: keypoints choose the candidates, flanks stay apart, and
#: LightGlue, which was trained on buildings, is left to pairs that are shown.
GENERIC_SETTINGS = {
    "shortlist.cosine_weight": 0.0,
    "shortlist.expansion": 0,
    "shortlist.rescore": 0,
    "shortlist.flanks_apart": True,
}
#: Its dense skin network, which nobody trained on animals.
SKIN_NAME = "imagenet-skin.safetensors"
#: Kinds of evidence that its ranker reads: none that depends on what a global network was trained on, on dates, or on
#: views that only belugas are photographed from.
GENERIC_GROUPS = ("mutual_nn", "correlation", "skin")
_LICENCE = "Apache-2.0"


def part_of(
    species: str,
    part: str,
    work: Path,
    views: bool = True,
    size: tuple[int, int] | None = None,
    any_angle: bool = False,
) -> Catalog:
    """Return a part of a species, drawn if need be; ``size`` in animals and photographs of each."""
    animals, photographs = size or SIZES[part]
    root = work / f"{species}-{part}{'-turned' if any_angle else ''}"
    settings = SpeciesSettings(
        species=species, part=part, individuals=animals, photographs=photographs, any_angle=any_angle
    )
    if not (root / "catalog.csv").is_file():
        make_species(root, settings)
    return Catalog.read(root if views else root / "photographs")


def teaching_and_asked(species: str) -> tuple[str, str]:
    """Return which part of a species may teach a model of its own, and which is asked.

    Nothing learns from the species held back, so that either of its parts may be asked.
    """
    return ("test", "train") if species == HELD_BACK else ("train", "test")


def matcher_for(
    catalog: Catalog,
    work: Path,
    model: str | Path | Model,
    workers: int | None = None,
    options: Mapping[str, str] = MappingProxyType({}),
) -> Matcher:
    """Return a matcher whose store lies in the work folder; ``options`` of the engine by dotted name."""
    folder = catalog.root if catalog.root.name != "photographs" else catalog.root.parent
    settings = MatcherSettings()
    for name, value in options.items():
        settings = settings.with_option(name, value)
    return Matcher(settings, store=work / f"store-{folder.name}", workers=workers, model=model)


def answers_of(catalog: Catalog, matcher: Matcher) -> Answers:
    """Ask every photograph against all the others."""
    index = matcher.index(catalog)
    raw = matcher.pairs(index, index)
    return Answers.of_pairs(matcher.rank(raw, len(index)), raw, matcher.individual_model)


def teaching_pairs(draft: Model, work: Path, workers: int | None = None) -> pd.DataFrame:
    """Return the labelled pairs of the train parts; lists never hold two species."""
    tables = []
    for species in (name for name in SPECIES if name != HELD_BACK):
        catalog = part_of(species, "train", work)
        matcher = matcher_for(catalog, work, draft, workers)
        index = matcher.index(catalog)
        tables.append(matcher.pairs(index, index, neighbours=True))
        matcher.close()
        print(f"{species}: {len(tables[-1]):,} pairs", file=sys.stderr, flush=True)
    return pd.concat(tables, ignore_index=True)


def draft_model(folder: Path) -> Model:
    """Return the general model without a ranker of its own."""
    source = "EfficientNet-Lite0, ImageNet (rwightman / Google), its channels at strides 4 and 8 as they are"
    parts = (registered_part("global", "efficientnet_lite0"), file_part("skin", SKIN_NAME, _LICENCE, source))
    summary = "Any animal with marks: keypoints choose and judge, and no ranker knows dates or views of one species."
    return Model("generic", folder, summary, _LICENCE, __version__, parts, GENERIC_SETTINGS)


def imagenet_skin(work: Path) -> dict[str, Path]:
    """Write the dense skin network that nobody trained on animals; return its name in a model -> where it lies."""
    # torch
    from features.skin.network import imagenet_skin_network, save_skin_network

    work.mkdir(parents=True, exist_ok=True)
    save_skin_network(work / SKIN_NAME, imagenet_skin_network(), {"input_size": SkinTrainSettings().input_size}, True)
    return {SKIN_NAME: work / SKIN_NAME}


def _fit(raw: pd.DataFrame, groups: tuple[str, ...]) -> TrainedRanker:
    return train_ranker(
        raw,
        TrainingSettings(rescoring=False),
        RankerSettings(groups=groups),
        keypoint_kind=MatcherSettings().describe.keypoints.kind,
        descriptor="efficientnet_lite0",
    )


def fit_generic(output: Path, work: Path, workers: int | None = None) -> tuple[Model, TrainedRanker]:
    """Fit the general model's ranker and first-stage weights, and write it."""
    skin = imagenet_skin(work)
    draft = write_model(draft_model(work / "draft"), skin, "# generic, without its ranker\n")
    raw = teaching_pairs(draft, work, workers)
    trained = _fit(raw, GENERIC_GROUPS)
    evidence = LocalEvidence.fit_first_stage(raw, {"animals": "made up: spots, stripes, scars"})
    evidence.save(work / "first-stage-local-evidence.json")
    trained.ranker.save(work / "ranker.json")
    source = "fitted by this project on made-up animals (python -m bench.made_up_species)"
    names = {"first_stage_evidence": "first-stage-local-evidence.json", "ranker": "ranker.json"}
    parts = (*draft.parts, *(file_part(role, name, _LICENCE, source) for role, name in names.items()))
    figures = figures_of(out_of_fold_answers(trained, raw, "all", raw))
    measured = {
        "train parts, out of fold": {
            name: round(float(np.atleast_1d(getattr(figures, name))[0]), 3)
            for name in ("map20", "top1", "individual_top1", "new_auroc", "calibration_error")
        }
    }
    model = Model("generic", output, draft.summary, _LICENCE, __version__, parts, GENERIC_SETTINGS, {}, measured)
    files = skin | {name: work / name for name in names.values()}
    return write_model(model, files, _CARD), trained


_CARD = """# generic: any animal with marks

The model for animals that no other model was made for. `scarmatch train` starts from it.

| part | what it is |
|---|---|
| global network | EfficientNet-Lite0 as ImageNet left it; it neither chooses candidates nor speaks in the ranker |
| keypoints | ALIKED's own descriptors, without a metric |
| dense skin network | EfficientNet-Lite0's channels at strides 4 and 8, as ImageNet left them |
| first-stage weights, ranker, calibration | fitted on made-up animals with spots, stripes, and scars on a fin |

Nothing in it has seen a beluga. On the train parts of the made-up species the belugas' skin network was worth no more
than ImageNet's, and neither more than none (`bench/NOTES.md`).

Candidates are chosen by keypoints alone, out of the whole catalogue. A left flank is never matched with a right one.
The ranker reads what was found on the skin: no date, no viewpoint, no global descriptor. No LightGlue
either (`bench/made_up_species.py`).

Its probabilities are those of made-up animals: train a model of your own as soon as you have ten animals with two
photographs each.
"""


def compare_skin(work: Path, workers: int | None = None) -> list[str]:
    """Return a line for each dense skin network: figures of the train parts, out of fold, and mAP@20 over none."""
    own = draft_model(work / "draft")
    marks = replace(own, parts=(own.of_role("global")[0], registered_part("skin", "beluga-marks")))
    skin = imagenet_skin(work)
    ways = {"ImageNet's": (own, skin, GENERIC_GROUPS), "the belugas'": (marks, {}, GENERIC_GROUPS)}
    found: dict[str, Answers] = {}
    for name, (model, files, groups) in (ways | {"none": (own, skin, ("mutual_nn",))}).items():
        raw = teaching_pairs(write_model(model, files, "# generic, without its ranker\n"), work, workers)
        found[name] = out_of_fold_answers(_fit(raw, groups), raw, "all", raw)
    lines = []
    for name, answers in found.items():
        f, without = figures_of(answers), found["none"].average_precisions()
        gain = paired_bootstrap(answers.average_precisions(), without, answers.truth.to_numpy(object))
        more = f"{gain.mean:+.3f}, {gain.low:+.3f} to {gain.high:+.3f}"
        lines.append(
            f"{name}: mAP@20 {f.map20[0]:.3f} ({more}), top-1 {f.top1:.3f}, new AUROC {f.new_auroc:.3f}, "
            f"calibration error {f.calibration_error:.3f}"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the general model; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, help="the model's folder")
    parser.add_argument("--compare", action="store_true", help="compare dense skin networks instead")
    parser.add_argument("--work", type=Path, required=True, help="photographs and store, kept")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    options = parser.parse_args(arguments)
    if options.compare:
        print("\n".join(compare_skin(options.work, options.workers)))
        return 0
    if options.output is None:
        parser.error("--output names the model's folder")
    model, trained = fit_generic(options.output, options.work, options.workers)
    print(f"{model.folder}: {trained.report['kind']}; {trained.report['reason']}")
    for name, value in model.measured.items():
        print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
