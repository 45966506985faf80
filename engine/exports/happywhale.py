"""The catalogue in Happywhale's layout, read back as ``happywhale``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.exports.names import file_names
from engine.exports.placing import new_folder, place, those_there
from engine.exports.plain_csv import save_table
from engine.exports.records import ExportSettings, Written, photographs


def write_happywhale(catalog: Catalog, output: Path, settings: ExportSettings) -> Written:
    """Write ``train.csv`` (image, species, individual_id) with ``train_images/``, and unnamed ones in ``test_images/``.

    The layout has one animal a photograph, whole: of several animals in one file the first that has a name is taken.
    """
    there, notes = those_there(catalog.table)
    table = there.sort_values("individual_id", key=lambda names: names.isna(), kind="stable")
    table = table.drop_duplicates("path").sort_index()
    several, boxes = len(there) - len(table), int(table["box"].notna().sum())
    named = table["individual_id"].notna()
    folders = named.map({True: "train_images", False: "test_images"})
    names = file_names(zip(folders, table["path"], strict=True))
    rows = [
        {"image": names["train_images", path], "species": species, "individual_id": individual}
        for path, species, individual in table.loc[named, ["path", "species", "individual_id"]].itertuples(index=False)
    ]
    with new_folder(output) as part:
        save_table(pd.DataFrame(rows, columns=["image", "species", "individual_id"]), part / "train.csv")
        place(((path, part / folder / name) for (folder, path), name in names.items()), settings.photos)
    if several:
        notes.append(f"{several:,} further animals of photographs that show several: the layout has one for each")
    if boxes:
        notes.append(f"{photographs(boxes)} with a box, which the layout lacks: they are whole")
    notes.append("dates, viewpoints and encounters are no part of the layout")
    return Written((output / "train.csv",), tuple(notes))
