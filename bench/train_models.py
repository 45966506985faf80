"""Train what ships and what measures it: the networks and the metric of ``beluga``, on either half and on everybody.

    python -m bench.train_models CATALOG --output FOLDER

Each part is trained for "half" (on one half of the individuals: it measures the other), for "other-half" (the
reverse), and for "all" (it ships; nothing here can measure it). So every individual can be asked with parts that never
saw it. What is finished is not trained again, and a stopped training goes on from its checkpoint: global networks after
every epoch, the others where their own commands do. ``--plan`` says what is left and how long it takes.

Networks may be trained where the photographs are not: ``--pack FOLDER`` writes a catalogue of them, compressed anew to
fit into 60 MB, that this command takes like any other. A graphics card is used where torch sees one.

    python -m bench.train_models CATALOG --pack packed
    python -m bench.train_models packed --output trained --part skin --part colour \\
        --set skin.backbone=efficientnet_lite2 --set skin.input_size=[192,512]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import pandas as pd

from bench.held_out import EVERYBODY, HELD_OUT, OTHER_HALF, individuals_of
from bench.progress import say
from engine.catalogue.catalog import Catalog
from engine.search.matcher import Matcher
from engine.training.keypoint_training import train_keypoint_metric
from engine.training.skin_training import train_mark_descriptors
from features.model_file import load_embedder, save_embedder
from features.photo import read_photo
from features.store import default_store
from features.training.data import box_of, from_above
from features.training.keypoint_metric import KeypointTrainSettings
from features.training.loop import train_descriptor
from features.training.settings import TrainSettings
from features.training.skin_settings import SkinTrainSettings
from scarmatch.errors import ScarmatchError
from scarmatch.settings import SettingsError

ALL = "all"
#: Whom a part is trained on -> what they are called where they are measured on: there, others' parts stand in.
WHO = {"half": OTHER_HALF, "other-half": HELD_OUT, ALL: EVERYBODY}
#: Part -> the name under which it ships.
NAMES = {"keypoints": "beluga-keypoints", "marks": "beluga-marks", "skin": "beluga-skin", "colour": "beluga-lite0"}
#: Part -> what its photographs teach by, unless ``--set`` says otherwise; everybody in the catalogue teaches.
RECIPES: Mapping[str, KeypointTrainSettings | SkinTrainSettings | TrainSettings] = {
    "keypoints": KeypointTrainSettings(held_out="none"),
    "marks": SkinTrainSettings(held_out="none"),
    "skin": TrainSettings.recipe("skin").replace(held_out="none"),
    "colour": TrainSettings.recipe("colour").replace(
        held_out="none", epochs=12, minimum_photographs=3, frozen_blocks=3, mirror_classes=False
    ),
}
#: Minutes on one core of a current server processor for a thousand photographs that teach.
MINUTES = {"keypoints": 11.0, "marks": 16.0, "skin": 16.0, "colour": 16.0}
#: Bytes that packed photographs may take, and the JPEG qualities that are tried, best first.
PACK_BYTES, _QUALITIES = 60_000_000, (92, 88, 84, 80, 75, 70, 65, 60, 50)


@dataclass(frozen=True, eq=False)
class Training:
    """One part for one group of individuals.

    Attributes:
        part: one of :data:`NAMES`. who: one of :data:`WHO`.
        folder: of its checkpoints.
        file: the finished part, in half precision.
        catalog: the photographs that teach.
        settings: of the training.
    """

    part: str
    who: str
    folder: Path
    file: Path
    catalog: Catalog = field(repr=False)
    settings: Any

    @property
    def finished(self) -> bool:
        """Whether there is nothing to do."""
        return self.file.is_file()

    @property
    def minutes(self) -> float:
        """What it is expected to take on one core."""
        table = self.catalog.table
        return MINUTES[self.part] * len(table if self.settings.views == "all" else table[from_above(table)]) / 1000


def trainings(
    catalog: Catalog,
    output: Path,
    parts: Sequence[str] = (),
    who: Sequence[str] = (),
    options: Sequence[str] = (),
) -> list[Training]:
    """Plan the trainings, those that measure first.

    Args:
        catalog: labelled.
        output: folder of everything.
        parts: of :data:`NAMES`, all if empty.
        who: of :data:`WHO`, all if empty.
        options: texts of ``PART.OPTION=VALUE``.

    Raises:
        SettingsError: an option names no part, option or value.
    """
    settings = {part: RECIPES[part] for part in NAMES}
    for text in options:
        name, _, value = text.partition("=")
        part, _, option = name.partition(".")
        if part not in settings or not option or not value:
            raise SettingsError(f"{text!r}: --set takes PART.OPTION=VALUE, PART one of {', '.join(NAMES)}")
        settings[part] = settings[part].with_option(option, value)
    table, planned = catalog.table, []
    for one in who or WHO:
        chosen = table[table["individual_id"].isin(individuals_of(catalog, WHO[one]))]
        if chosen.empty:
            raise ScarmatchError(f"{catalog.root}: no labelled photograph of {one}")
        teaching = catalog.subset(chosen["image_id"].tolist())
        for part in parts or NAMES:
            name = NAMES[part] if one == ALL else f"{NAMES[part]}-{one}"
            folder, file = output / one / part, output / f"{name}.safetensors"
            planned.append(Training(part, one, folder, file, teaching, settings[part]))
    return planned


def run(training: Training, store: Path | None = None, workers: int | None = None) -> None:
    """Train one part, or go on with it, and write its file."""
    show = _Shown(f"{training.who}, {training.part}")
    folder, settings = training.folder, training.settings
    if training.part == "keypoints":
        matcher = Matcher(store=store or default_store(training.catalog.root), workers=workers)
        path = train_keypoint_metric(training.catalog, matcher, folder, settings, show)
        matcher.close()
    elif training.part == "marks":
        path = train_mark_descriptors(training.catalog.table, folder, settings, resume=True, progress=show)
    else:
        path = train_descriptor(
            training.catalog.table, folder, settings, resume=True, progress=show, workers=_feeders()
        ).model
    _finish(path, training.file, half=training.part in ("skin", "colour"))


def _finish(path: Path, file: Path, half: bool) -> None:
    """Put a trained part in its place; the global networks are in single precision until here."""
    if half:
        save_embedder(file, *load_embedder(path), half=True)
        return
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_bytes(path.read_bytes())
    temporary.replace(file)


def _feeders() -> int:
    """Threads that prepare photographs while a graphics card computes; beside the processor's own work, none."""
    # torch
    import torch

    return min(8, os.cpu_count() or 1) if torch.cuda.is_available() else 0


class _Shown:
    """Tells a training's records now and then."""

    def __init__(self, title: str) -> None:
        self._title, self._last = title, 0.0

    def __call__(self, record: dict[str, Any]) -> None:
        if time.monotonic() - self._last < 30:
            return
        self._last = time.monotonic()
        if "epoch" in record:
            place = f"epoch {record['epoch'] + 1}, step {record['step']} of {record['steps']}"
        else:
            place = f"{record['stage']}, {record['done']} of {record['total']}"
        figures = "".join(f", {name} {record[name]:.3f}" for name in ("loss", "accuracy") if name in record)
        say(f"{self._title}: {place}{figures}")


def pack(catalog: Catalog, folder: Path, limit: int = PACK_BYTES) -> tuple[int, int]:
    """Write the labelled photographs as a catalogue of a CSV table, compressed to fit into a number of bytes.

    Photographs keep their pixels and are cut to their boxes; the highest JPEG quality at which all fit is chosen.

    Returns:
        (quality, bytes).

    Raises:
        ScarmatchError: the folder exists, or they do not fit at the lowest quality either.
        PhotoError: a photograph cannot be read.
    """
    if folder.exists():
        raise ScarmatchError(f"{folder}: exists; name a folder that does not")
    table = catalog.table[catalog.table["individual_id"].notna()]
    # Every tenth photograph tells which quality will do.
    qualities = [q for q in _QUALITIES if 10 * sum(map(len, _encoded(table.iloc[::10], q))) < limit]
    for quality in qualities:
        pictures = list(_encoded(table, quality))
        if sum(map(len, pictures)) > limit:
            continue
        (folder / "images").mkdir(parents=True)
        for number, picture in enumerate(pictures):
            (folder / "images" / f"{number:05d}.jpg").write_bytes(picture)
        columns = ["image_id", "viewpoint", "date", "timestamp", "individual_id", "encounter_id"]
        packed = table[columns].assign(path=[f"images/{number:05d}.jpg" for number in range(len(table))])
        packed.rename(columns={"individual_id": "whale_id"}).to_csv(folder / "metadata.csv", index=False)
        return quality, sum(map(len, pictures))
    raise ScarmatchError(f"{len(table)} photographs do not fit into {limit:,} bytes")


def _encoded(table: pd.DataFrame, quality: int) -> Sequence[bytes]:
    made = []
    for row in table.itertuples():
        rgb = read_photo(str(row.path), box_of(row.box)).rgb
        done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise ScarmatchError(f"{row.path}: cannot be compressed")
        made.append(data.tobytes())
    return made


def render_plan(planned: Sequence[Training]) -> str:
    """Return a line for each training and the whole."""
    lines = []
    for one in planned:
        left = "finished" if one.finished else f"about {one.minutes:.0f} min of one core"
        lines.append(f"{one.who:10} {one.part:10} {len(one.catalog):6,} photographs  {left}")
    hours = sum(one.minutes for one in planned if not one.finished) / 60
    return "\n".join([*lines, f"in all about {hours:.1f} h of one core"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack, plan or train; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="folder, CSV or COCO file")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="checkpoints and finished parts")
    parser.add_argument("--part", action="append", choices=NAMES, help="this one only (may be repeated)")
    parser.add_argument("--who", action="append", choices=WHO, help="these individuals only (may be repeated)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="PART.OPTION=VALUE")
    parser.add_argument("--plan", action="store_true", help="say what is left, and do nothing")
    parser.add_argument("--pack", type=Path, metavar="FOLDER", help="write the photographs small, and do nothing else")
    parser.add_argument("--store", type=Path, help="what was described (the catalogue's own)")
    parser.add_argument("--workers", type=int, help="processes that describe (default: one per core)")
    options = parser.parse_args(arguments)
    catalog = Catalog.read(options.catalog)
    if options.pack is not None:
        quality, size = pack(catalog, options.pack)
        print(f"{options.pack}: {size / 1e6:.1f} MB, JPEG quality {quality}")
        return 0
    if options.output is None:
        parser.error("--output names a folder for checkpoints and finished parts")
    planned = trainings(catalog, options.output, options.part or (), options.who or (), options.overrides)
    print(render_plan(planned), flush=True)
    for one in planned:
        if options.plan or one.finished:
            continue
        started = time.process_time()
        run(one, options.store, options.workers)
        print(f"{one.file}: {(time.process_time() - started) / 60:.0f} min of this process", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
