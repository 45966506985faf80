"""A trained model's folder: the parts that were trained, those of the base model for the rest, and the card."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.models.bundle import (
    CLASSIFIER_FOLDER,
    GLOBAL_OPTION,
    METRIC_OPTION,
    SKIN_OPTION,
    Model,
    Part,
    carried,
    file_part,
    write_model,
)
from engine.models.card import ReportCard
from engine.models.decision import Decision
from engine.training.fold_parts import FoldSettings
from features.weights import backbone_and_file
from reranker.local_evidence import LocalEvidence
from reranker.ranker import Ranker
from scarmatch import __version__

#: The engine's option of a part -> its role and its file's name in the folder.
_ROLES = {
    METRIC_OPTION: ("keypoint_metric", "keypoints.safetensors"),
    SKIN_OPTION: ("skin", "skin.safetensors"),
    GLOBAL_OPTION: ("global", "descriptor.safetensors"),
}
_SOURCE = "trained by `scarmatch train` on the owner's photographs"
#: The owner decides; nothing may be claimed for them.
_LICENCE = "LicenseRef-owner"


def write_trained(
    folder: Path,
    base: Model,
    own: Mapping[str, str],
    ranker: Ranker | None,
    first_stage: LocalEvidence | None,
    card: ReportCard,
    recipe: FoldSettings,
    settings: Mapping[str, Any],
    decision: Decision,
) -> Model:
    """Write the model that a training made.

    Args:
        folder: of the model.
        base: gives every part that was not trained.
        own: the engine's option of every part that was trained -> its file.
        ranker: fitted with its calibration; None keeps the base model's.
        first_stage: weights of the first stage; None keeps the base model's.
        card: the figures.
        recipe: how the parts were trained.
        settings: options of the engine that all was measured with, by dotted name.
        decision: what ``scarmatch identify`` decides by.
    """
    # torch
    from features.global_descriptor.classifier import CENTRES, FOLDER, NETWORK

    with tempfile.TemporaryDirectory(prefix="scarmatch-") as temporary:
        files: dict[str, Path] = {}
        parts: list[Part] = []

        def add(role: str, name: str, source: Path) -> None:
            files[name] = source
            parts.append(file_part(role, name, _LICENCE, _SOURCE))

        for option, path in own.items():
            role, name = _ROLES[option]
            add(role, name, Path(path))
            head = Path(path).parent / FOLDER
            if option == GLOBAL_OPTION and head.is_dir():
                add("classifier_network", f"{CLASSIFIER_FOLDER}/{NETWORK}", head / NETWORK)
                add("classifier_centres", f"{CLASSIFIER_FOLDER}/{CENTRES}", head / CENTRES)
        if first_stage is not None:
            first_stage.save(Path(temporary) / "first-stage.json")
            add("first_stage_evidence", "first-stage-local-evidence.json", Path(temporary) / "first-stage.json")
        trained = {part.role for part in parts}
        for part in base.parts:
            if part.role in trained or (part.role == "ranker" and ranker is not None):
                continue
            taken = carried(part)
            if taken.file:
                files[taken.file] = base.path_of(part)
            parts.append(taken)
        if ranker is not None:
            # It goes with the descriptors by their names in this folder.
            names = [part.registered or part.file for part in parts if part.role == "global"]
            report = ranker.metadata.get("report", {})
            fitted = ranker.with_origin(ranker.keypoint_kind, ",".join(names), {"report": report})
            fitted.save(Path(temporary) / "ranker.json")
            add("ranker", "ranker.json", Path(temporary) / "ranker.json")
        model = Model(
            re.sub(r"[^\w.-]", "-", folder.absolute().name)[:80] or "model",
            folder,
            f"Trained on {card.photographs:,} photographs of {card.individuals:,} individuals, from {base.name!r}.",
            _LICENCE,
            __version__,
            tuple(parts),
            settings,
            {},
            {"cross-validated": card.to_dict()["methods"][card.chosen], "base": card.base, "verdict": card.verdict},
            decision,
        )
        return write_model(model, files, _card_text(card, recipe))


def _card_text(card: ReportCard, recipe: FoldSettings) -> str:
    """Return the model's card as Markdown."""
    lines = [f"# {card.name}", "", card.verdict, ""]
    lines += [
        f"Trained by `scarmatch train` on {card.photographs:,} photographs of {card.individuals:,} individuals "
        f"({card.teachers:,} with two or more), from the model `{card.base}`. Figures are of {card.folds} folds of "
        f"individuals, {card.question}: nothing that answered had seen the individual asked.",
        "",
        "| method | mAP@20 (95 % interval) | top-1 | top-5 | individual first | in five | new-individual AUROC |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, f in card.methods.items():
        value, low, high = f.map20
        lines.append(
            f"| {name}{' (in this model)' if name == card.chosen else ''} | {value:.3f} ({low:.3f}–{high:.3f}) | "
            f"{f.top1:.2f} | {f.top5:.2f} | {f.individual_top1:.2f} | {f.individual_top5:.2f} | {f.new_auroc:.2f} |"
        )
    lines += ["", "| step | seconds |", "|---|---|"]
    lines += [f"| {s.name} | {f'skipped: {s.skipped}' if s.skipped else f'{s.taken:.0f}'} |" for s in card.steps]
    backbone, _ = backbone_and_file(recipe.descriptor.backbone)
    network = f"epochs {recipe.descriptor.epochs} of {backbone} from {recipe.descriptor.start}"
    lines += ["", f"Skin steps {recipe.skin.steps}, {network}, seed {recipe.seed}.", ""]
    return "\n".join(lines)
