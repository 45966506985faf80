"""Train a global descriptor on labelled photographs: resumable after every epoch, reproducible from its seed."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from features.global_descriptor.classifier import save_classifier
from features.global_descriptor.runtime import to_input
from features.model_file import read_tensors, save_embedder, write_tensors
from features.records import ByteArray
from features.training.augmentation import augment
from features.training.checkpoint import (
    CheckpointError,
    optimizer_tensors,
    restore_optimizer,
    with_prefix,
    without_prefix,
)
from features.training.data import PhotoCache, class_labels, from_above
from features.training.evaluation import evaluate_descriptors
from features.training.losses import MarginHead
from features.training.prefetch import Sample, prefetch
from features.training.sampling import epoch_order, same_day_classes
from features.training.schedule import learning_rate
from features.training.settings import TrainSettings
from features.training.steps import (
    embed,
    model_header,
    new_embedder,
    parameter_groups,
    project_pooled,
    update_average,
    whiten,
)
from features.training.teaching_photos import held_out_rows, read_cache
from scarmatch.settings import SettingsError

#: Individuals are shown by the square root of their number of photographs (:mod:`features.training.sampling`).
_SAMPLING_POWER = 0.5
#: Largest gradient norm.
_CLIP = 5.0
log = logging.getLogger(__name__)
MODEL_NAME = "model.safetensors"
CHECKPOINT_NAME = "checkpoint.safetensors"
LOG_NAME = "log.jsonl"

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, eq=False)
class TrainReport:
    """What a training left behind.

    Attributes:
        model: path of the weights of the last epoch's running average.
        history: one record per epoch, as in the log.
        finished: False if it was told to stop early by ``stop_after``.
    """

    model: Path
    history: list[dict[str, Any]]
    finished: bool


def train_descriptor(
    catalog_table: pd.DataFrame,
    output: Path | str,
    settings: TrainSettings | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    cache: PhotoCache | None = None,
    stop_after: int | None = None,
    workers: int = 0,
) -> TrainReport:
    """Train a descriptor on the labelled photographs of a catalogue.

    Args:
        catalog_table: a catalogue's table (image_id, path, individual_id, viewpoint, date, encounter_id, box).
        output: folder for ``model.safetensors`` (running average of the weights), ``checkpoint.safetensors`` (all that
            a resume needs) and ``log.jsonl`` (one line per epoch).
        settings: see :class:`TrainSettings`.
        resume: continue from the checkpoint in ``output`` (start anew if there is none); the settings must be the same.
        progress: called with a record now and then (epoch, step, steps, loss, eta_seconds).
        cache: photographs already in memory (their table takes the place of ``catalog_table``).
        stop_after: stop after so many epochs in all, as if interrupted.
        workers: threads that prepare photographs ahead of the network (for a GPU); any number gives the same weights.

    Raises:
        SettingsError: too few individuals, or an unknown backbone.
        CheckpointError: ``resume`` with a checkpoint of other settings or another catalogue.
    """
    settings = settings or TrainSettings()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    if cache is None:
        cache = read_cache(catalog_table, settings)
    for image_id, reason in cache.skipped.items():
        log.warning("left out photograph %s: %s", image_id, reason)
    run = _Run(cache, folder, settings, progress, workers)
    if resume and (folder / CHECKPOINT_NAME).exists():
        run.restore()
    while run.epoch < settings.epochs and not run.worn_out():
        if stop_after is not None and run.epoch >= stop_after:
            return TrainReport(folder / MODEL_NAME, run.history, finished=False)
        run.one_epoch()
    run.finish()
    return TrainReport(folder / MODEL_NAME, run.history, finished=True)


class _Run:
    """The running state of one training."""

    def __init__(
        self, cache: PhotoCache, folder: Path, settings: TrainSettings, progress: Progress | None, workers: int = 0
    ) -> None:
        self.settings, self.folder, self.progress, self.workers = settings, folder, progress, workers
        held_out = held_out_rows(cache.table, settings)
        top = from_above(cache.table)
        validated = ~held_out & top if settings.views == "top" else ~held_out
        labels, names = class_labels(cache.table["individual_id"].where(validated), settings.minimum_photographs)
        if len(names) < 2:
            raise SettingsError(
                f"{len(names)} individuals with at least {settings.minimum_photographs} photographs are left for "
                "training; at least 2 are needed (lower minimum_photographs or label more photographs)"
            )
        self.images, self.names, self.copies = cache.images, names, cache.copies
        self.rows = np.flatnonzero(labels >= 0)
        self.labels = labels[self.rows]
        self.validation_rows = np.flatnonzero(held_out & top)
        self.validation_table = cache.table.iloc[self.validation_rows].reset_index(drop=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(settings.seed)
        self.model = new_embedder(settings).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not settings.epochs:
            project_pooled(self.model, self.images[self.rows], settings.input_size, settings.mirror_classes)
        table = cache.table.iloc[self.rows]
        self.groups = self.labels
        if settings.sampling_groups == "encounter":
            pairs = zip(self.labels.tolist(), table["encounter_id"].astype(str), strict=True)
            self.groups = pd.factorize(pd.Series([f"{label} {encounter}" for label, encounter in pairs]))[0]
        self.days, company = same_day_classes(table["date"], self.labels, len(names))
        # Mirrored classes come after the others, in the same order.
        self.company = np.concatenate([company, company], axis=1) if settings.mirror_classes else company
        counts = torch.from_numpy(np.bincount(self.labels, minlength=len(names)))
        counts = torch.cat([counts, counts]) if settings.mirror_classes else counts
        self.head = MarginHead(
            settings.loss,
            settings.embedding,
            counts,
            settings.subcentres,
        ).to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, self.head, settings), lr=settings.rate)
        self.epoch = 0
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.identity = {"settings": settings.fingerprint(), "individuals": len(names), "photographs": len(self.rows)}
        if "more_boxes" in table.columns:
            boxes = [given if isinstance(given, tuple) else () for given in table["more_boxes"]]
            self.identity["further_boxes"] = hashlib.sha256(repr(boxes).encode()).hexdigest()[:16]

    def worn_out(self) -> bool:
        """True if the last ``patience`` validations brought no better score."""
        scores = [h["validation"]["other_encounter"]["mAP@20"] for h in self.history if "validation" in h]
        patience = self.settings.patience
        return bool(patience and len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience]))

    def one_epoch(self) -> None:
        """Train one epoch, validate when it is time, write checkpoint, model and log line."""
        started, losses, right = time.monotonic(), [], 0
        order = epoch_order(self.groups, _SAMPLING_POWER, self.settings.seed, self.epoch)
        order = order[: max(1, len(order) // self.settings.batch) * self.settings.batch]
        steps = -(-len(order) // self.settings.batch)
        self.model.train()
        for i, (images, labels, company) in enumerate(self._batches(order)):
            rate = self._set_rate(self.epoch + i / steps)
            loss, hits = self._step(images, labels, company)
            losses.append(loss)
            right += hits
            if self.progress is not None and (i % 10 == 9 or i + 1 == steps):
                spent = time.monotonic() - started
                eta = spent / (i + 1) * (steps * (self.settings.epochs - self.epoch) - i - 1)
                self.progress(
                    {"epoch": self.epoch, "step": i + 1, "steps": steps, "loss": loss, "eta_seconds": round(eta)}
                )
        record: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "loss": float(np.mean(losses)),
            "accuracy": right / len(order),
            "rate": rate,
            "size": list(self.settings.size_at(self.epoch)),
            "seconds": round(time.monotonic() - started, 1),
        }
        self.epoch += 1
        due = self.epoch % self.settings.validate_every == 0 or self.epoch == self.settings.epochs
        if due and len(self.validation_rows):
            record["validation"] = self.validate()
        self.history.append(record)
        self.save()

    def _set_rate(self, epoch: float) -> float:
        s = self.settings
        rate = learning_rate(epoch, s.epochs, s.rate, s.warm_up, s.hold, s.final_share)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        return rate

    def _sample(self, place: int, row: int) -> Sample:
        """One photograph of an epoch and its class; it draws from its own generator (seed, epoch, place)."""
        rng = np.random.default_rng([self.settings.seed, self.epoch, 1 + place])
        mirror = self.settings.mirror_classes and bool(rng.random() < 0.5)
        size = self.settings.size_at(self.epoch)
        image = augment(self._one_of(int(self.rows[row]), rng), size, self.settings.augmentation, rng, mirror)
        return image, int(self.labels[row]) + (len(self.names) if mirror else 0)

    def _one_of(self, photo: int, rng: np.random.Generator) -> ByteArray:
        """The photograph, one of its worse copies, or what one of its further boxes holds."""
        copies = self.copies[photo] if self.copies else ()
        which = int(rng.integers(0, 1 + len(copies))) if len(copies) else 0
        return copies[which - 1] if which else self.images[photo]

    def _batches(self, order: npt.NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Batches of one epoch, in order, prepared by threads ahead of their use where there are any.

        Photographs, their classes, and which classes compete with each in the share of the loss that stays in a day.
        """
        size = self.settings.batch
        start = 0
        for samples in prefetch(self._sample, list(enumerate(order.tolist())), size, self.workers):
            images, labels = zip(*samples, strict=True)
            company = None
            if self.settings.same_day > 0:
                seen = self.company[self.days[order[start : start + len(labels)]]]
                company = torch.from_numpy(seen).to(self.device)
            start += len(labels)
            yield to_input(np.stack(images), self.device), torch.tensor(labels, device=self.device), company

    def _step(self, images: Tensor, labels: Tensor, company: Tensor | None) -> tuple[float, int]:
        half = self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            embeddings = self.model(images)
        loss, cosine = self.head(embeddings, labels, company, self.settings.same_day)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        everything = [*self.model.parameters(), *self.head.parameters()]
        nn.utils.clip_grad_norm_([p for p in everything if p.grad is not None], _CLIP)
        self.optimizer.step()
        self.step += 1
        update_average(self.average, self.model, min(self.settings.ema, (1 + self.step) / (10 + self.step)))
        return float(loss.detach()), int((cosine.argmax(dim=1) == labels).sum())

    def validate(self) -> dict[str, Any]:
        """Scores of the averaged weights on the held-out individuals' top views (or views of unknown side)."""
        vectors = embed(self.average, self.images[self.validation_rows], self.settings.size_at(self.epoch - 1))
        scores = evaluate_descriptors(vectors, self.validation_table)
        return {name: score.summary() for name, score in scores.items()}

    def save(self) -> None:
        """Write checkpoint and model, then the log line: a stop between them repeats nothing and loses nothing."""
        tensors = {
            **with_prefix("model", self.model.state_dict()),
            **with_prefix("average", self.average.state_dict()),
            **with_prefix("head", self.head.state_dict()),
            **optimizer_tensors(self.optimizer),
            "random_state": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            tensors["random_state_cuda"] = torch.cuda.get_rng_state(self.device)
        header = {"identity": self.identity, "epoch": self.epoch, "step": self.step, "history": self.history}
        training = {**self.identity, "history": self.history}
        save_embedder(self.folder / MODEL_NAME, self.average, model_header(self.settings, training))
        write_tensors(self.folder / CHECKPOINT_NAME, tensors, header)
        lines = [json.dumps(record) for record in self.history]
        (self.folder / LOG_NAME).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Write the finished model: averaged weights, whitened on the training photographs; the checkpoint stays.

        The averaged weights as they are, with the class centres, are written beside it
        (:mod:`features.global_descriptor.classifier`).
        """
        header = model_header(self.settings, {**self.identity, "history": self.history})
        model = copy.deepcopy(self.average)
        if self.settings.whitening >= 0 and np.bincount(self.labels).max() > 1:
            individuals = [self.names[label] for label in self.labels]
            images, s = self.images[self.rows], self.settings
            whiten(model, images, individuals, s.input_size, s.whitening, s.mirror_classes)
        save_embedder(self.folder / MODEL_NAME, model, header)
        # The centres belong to the network before it is whitened.
        save_classifier(self.folder, self.average, header, self.head, self.names)

    def restore(self) -> None:
        """Take up the checkpoint of the output folder."""
        path = self.folder / CHECKPOINT_NAME
        tensors, header = read_tensors(path)
        if header.get("identity") != self.identity:
            raise CheckpointError(
                f"{path} belongs to another training (its {header.get('identity')}, now {self.identity}); "
                "train into another folder, or without resume"
            )
        self.model.load_state_dict(without_prefix("model", tensors), strict=True)
        self.average.load_state_dict(without_prefix("average", tensors), strict=True)
        self.head.load_state_dict(without_prefix("head", tensors), strict=True)
        restore_optimizer(self.optimizer, tensors)
        torch.set_rng_state(tensors["random_state"])
        if self.device.type == "cuda" and "random_state_cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random_state_cuda"], self.device)
        self.epoch, self.step, self.history = header["epoch"], header["step"], header["history"]
