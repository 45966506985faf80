"""What people, spreadsheets and other programs do to tables, each with what is true of the table afterwards.

A mutation changes a document in place. Where its meaning stays or becomes another known one, the document's truth says
so; where nothing right can be read any more, ``told`` is set; where nobody can say what it means, ``open_ended``.
"""

from __future__ import annotations

import random
import unicodedata
from pathlib import PurePosixPath

from bench.hostile.byte_mutations import Mutation, noise, other_encoding
from bench.hostile.table_documents import SIZE, Document
from engine.catalogue.columns import SYNONYMS

ODD_TEXTS = (
    *(
        "",
        " ",
        "NA",
        "unknown",
        "0",
        "-1",
        "1e30",
        "1E+15",
        "nan",
        "inf",
        "12.0",
        "007",
        "None",
        "true",
        "a\0b",
        "a\x1b[31m",
    ),
    *(
        "'",
        '"',
        "=1+1",
        "a,b",
        "a;b",
        "a\tb",
        "a\nb",
        "../../x",
        "/etc/passwd",
        "C:\\x",
        "x" * 3000,
        "\u202e\u200b",
        "🐋",
    ),
    *(
        "\u00e9",
        "e\u0301",
        "2017-02-30",
        "03/04/2019",
        "42954",
        "1502138316",
        "20:38",
        "2017",
        "12.5.2017",
        "[1,2]",
        "{}",
    ),
)


def any_row(document: Document, chance: random.Random) -> int:
    return chance.randrange(len(document.rows))


# --- how a table is written ------------------------------------------------------------------------------------------


def other_newlines(document: Document, chance: random.Random) -> None:
    document.newline = chance.choice(["\r\n", "\r", "\n\n", "\r\n\r\n"])


def other_delimiter(document: Document, chance: random.Random) -> None:
    document.delimiter = chance.choice(",;\t|")


def all_quoted(document: Document, chance: random.Random) -> None:
    document.quote_all = True


def excels_first_line(document: Document, chance: random.Random) -> None:
    document.before = f"sep={document.delimiter}\r\n"


def lines_above(document: Document, chance: random.Random) -> None:
    document.before = chance.choice(["\n", "\r\n\r\n", "  \n"])


def empty_cells_behind(document: Document, chance: random.Random) -> None:
    cells = [""] * chance.randrange(1, 4)
    document.rows = [[*row, *cells] for row in document.rows]


def other_order(document: Document, chance: random.Random) -> None:
    order = list(range(len(document.header)))
    chance.shuffle(order)
    document.header = [document.header[place] for place in order]
    document.rows = [[row[place] for place in order] for row in document.rows]


def other_column_names(document: Document, chance: random.Random) -> None:
    """Call a column by another of its names, in other case and with other signs between the words."""
    words = {
        name: synonyms.split() for name, synonyms in SYNONYMS.items() if name not in ("time", "day", "month", "year")
    }
    place = chance.randrange(len(document.header))
    meant = [group for group in words.values() if document.header[place] in group]
    if not meant or document.layout != "csv":
        return
    name = chance.choice([word for word in meant[0] if word not in ("day", "id", "time")])
    document.header[place] = chance.choice([name, name.upper(), name.replace("_", " "), name.title(), f" {name} "])


def further_column(document: Document, chance: random.Random) -> None:
    name = chance.choice(["split", "dataset", "", "Unnamed: 0", "nickname", "lon", "notes", "whale", "camera"])
    place = chance.randrange(len(document.header) + 1)
    document.header.insert(place, name)
    for row in document.rows:
        row.insert(place, chance.choice(["", "1", "train", "a\nb"]))


# --- what the cells say ----------------------------------------------------------------------------------------------


def other_date(document: Document, chance: random.Random) -> None:
    """Write dates in another of the ways that leave one reading."""
    place = document.column("timestamp")
    if place is None:
        return
    style = chance.choice(["%d %b %Y", "%B %d, %Y", "%Y/%m/%d", "%Y:%m:%d", "%d.%m.%Y", "%Y%m%d", "%d-%B-%Y"])
    for row, item in zip(document.rows, document.truth, strict=False):
        if item.date is not None:
            row[place] = item.date.strftime(style) + (item.time.strftime(" %H:%M:%S") if item.time else "")
            if style == "%Y%m%d" and item.time:
                row[place] = item.date.strftime(style) + item.time.strftime("_%H%M%S")


def date_in_columns(document: Document, chance: random.Random) -> None:
    """Give date and time, or year, month and day, in columns of their own."""
    place = document.column("timestamp")
    if place is None or document.layout != "csv":
        return
    split = chance.random() < 0.5
    names = ["date", "time"] if split else ["year", "month", "day", "time"]
    document.header[place : place + 1] = names
    for row, item in zip(document.rows, document.truth, strict=False):
        day = item.date
        clock = item.time.strftime(chance.choice(["%H:%M", "%I:%M %p"])) if item.time else ""
        parts = (
            ["", "", ""]
            if day is None
            else [str(day.year), f"{day.month}.0", chance.choice([str(day.day), f"{day:%d}"])]
        )
        row[place : place + 1] = [str(day or ""), clock] if split else [*parts, clock]


def part_of_a_date(document: Document, chance: random.Random) -> None:
    place, row = document.column("timestamp"), any_row(document, chance)
    if place is not None:
        document.rows[row][place] = chance.choice(["2017", "2017-08", "Aug 2017"])
        document.alter(row, date=None, time=None)


def unreadable_date(document: Document, chance: random.Random) -> None:
    place, row = document.column("timestamp"), any_row(document, chance)
    if place is not None:
        bad = ["42954", "42954.86", "1502138316", "03/04/2019", "2017-02-30", "7/8/19", "summer", "2017-13", "25:00"]
        document.rows[row][place] = chance.choice(bad)
        document.told = True


def other_spelling_of_a_name(document: Document, chance: random.Random) -> None:
    name = chance.choice(["whale_id", "individual_id", "species", "encounter_id"])
    place, row = document.column(name), any_row(document, chance)
    if place is not None and document.rows[row][place]:
        text = document.rows[row][place]
        spellings = [
            unicodedata.normalize("NFD", text),
            f" {text}\u00a0",
            f"{text}\u200b",
            f"{text}.0" if text == "12" else text,
        ]
        document.rows[row][place] = chance.choice(spellings)


def name_in_other_case(document: Document, chance: random.Random) -> None:
    place = document.column("whale_id") if document.column("whale_id") is not None else document.column("individual_id")
    if place is not None and len(document.rows) > 1:
        document.rows[0][place] = document.rows[0][place].upper()
        document.alter(0, individual=document.rows[0][place])
        document.told = document.rows[0][place] != document.rows[1][place]


def other_path(document: Document, chance: random.Random) -> None:
    """Write paths as other systems and people do; the file stays the same."""
    place = document.column("path")
    if place is None:
        return
    way = chance.randrange(5)
    for row in document.rows:
        text = row[place]
        ways = [
            text.replace("/", "\\"),
            f"./{text}",
            f"images/../{text}",
            text.replace("images/", "images//"),
            f"{text} ",
        ]
        row[place] = ways[way]


def path_from_the_images(document: Document, chance: random.Random) -> None:
    place = document.column("path")
    if place is not None:
        for row in document.rows:
            row[place] = PurePosixPath(row[place]).name


def path_in_other_unicode(document: Document, chance: random.Random) -> None:
    place = document.column("path")
    if place is not None:
        for row in document.rows:
            row[place] = unicodedata.normalize("NFD", row[place]).replace(" ", chance.choice([" ", "\u00a0"]))


def path_that_leads_out(document: Document, chance: random.Random) -> None:
    place, row = document.column("path"), any_row(document, chance)
    if place is not None:
        # Out of the folder whether paths start from the table or from the photographs beside it.
        ways_out = ["../../p1.png", "/etc/hosts", "images/../../../x.png", "..\\..\\x.png"]
        document.rows[row][place] = chance.choice(ways_out)
        document.told = True


def box_in_one_cell(document: Document, chance: random.Random) -> None:
    place = document.column("x")
    if place is not None and document.layout == "csv" and document.header[place : place + 4] == ["x", "y", "w", "h"]:
        document.header[place : place + 4] = ["bbox"]
        for row in document.rows:
            sides = row[place : place + 4]
            row[place : place + 4] = [
                chance.choice(["[{}]", "({})", "{}"]).format(", ".join(sides)) if sides[0] else ""
            ]


def box_as_corners(document: Document, chance: random.Random) -> None:
    place = document.column("x")
    if place is not None and document.header[place : place + 4] == ["x", "y", "w", "h"]:
        document.header[place : place + 4] = ["xmin", "ymin", "xmax", "ymax"]
        for row in document.rows:
            if row[place]:
                x, y, w, h = map(int, row[place : place + 4])
                row[place : place + 4] = [str(x), str(y), str(x + w), str(y + h)]


def box_named_width_and_height(document: Document, chance: random.Random) -> None:
    place = document.column("w")
    if place is not None and document.column("x") is not None and document.header[place : place + 2] == ["w", "h"]:
        document.header[place : place + 2] = ["width", "height"]


def box_in_fractions(document: Document, chance: random.Random) -> None:
    place, row = document.column("x"), chance.choice([0, 2])
    if place is not None and document.header[place : place + 4] == ["x", "y", "w", "h"]:
        document.rows[row][place : place + 4] = ["0.1", "0.05", "0.8", "0.9"]
        document.told = True


def box_that_is_none(document: Document, chance: random.Random) -> None:
    place, row = document.column("x"), any_row(document, chance)
    if place is not None and document.header[place : place + 4] == ["x", "y", "w", "h"]:
        bad = [
            ["1", "2", "", "4"],
            ["1", "2", "0", "4"],
            ["a", "2", "3", "4"],
            ["1", "2", "nan", "4"],
            ["1", "2", "1e99", "4"],
        ]
        document.rows[row][place : place + 4] = chance.choice(bad)
        document.told = True


def positions_for_corners(document: Document, chance: random.Random) -> None:
    """Put longitudes and latitudes where a box is looked for; the photographs have no box then."""
    place = document.column("x")
    if place is not None and document.header[place : place + 4] == ["x", "y", "w", "h"] and document.layout == "csv":
        document.header[place : place + 4] = ["x", "y", "width", "height"]
        for number, row in enumerate(document.rows):
            row[place : place + 4] = [f"-15{number}.25", f"60.{number}", *map(str, SIZE)]
            document.alter(number, box=None)


def odd_cell(document: Document, chance: random.Random) -> None:
    document.rows[any_row(document, chance)][chance.randrange(len(document.header))] = chance.choice(ODD_TEXTS)
    document.open_ended = True


# --- damage ----------------------------------------------------------------------------------------------------------


def row_of_another_length(document: Document, chance: random.Random) -> None:
    row = document.rows[any_row(document, chance)]
    del row[len(document.header) :]
    if chance.random() < 0.5:
        del row[chance.randrange(len(row))]
    else:
        row.insert(chance.randrange(len(row)), "more")
    document.told = True


def row_twice(document: Document, chance: random.Random) -> None:
    document.rows.append(list(document.rows[any_row(document, chance)]))
    document.told = True


def open_quote(document: Document, chance: random.Random) -> None:
    """Open a quote at the last cell of a row, which then swallows all rows below it."""
    row = chance.randrange(len(document.rows))
    mark = f"@{row}@"
    document.quote_all = False
    document.rows[row][-1] = mark
    document.damage.append(lambda data: data.replace(mark.encode(), b'"5 scars'))
    document.encoding = "utf-8"
    document.told = True


TABLE: tuple[Mutation, ...] = (
    *(other_encoding, other_newlines, other_delimiter, all_quoted, excels_first_line, lines_above, empty_cells_behind),
    *(other_order, other_column_names, further_column, other_date, date_in_columns, part_of_a_date, unreadable_date),
    *(other_spelling_of_a_name, name_in_other_case, other_path, path_from_the_images, path_in_other_unicode),
    *(path_that_leads_out, box_in_one_cell, box_as_corners, box_named_width_and_height, box_in_fractions),
    *(box_that_is_none, positions_for_corners, odd_cell, row_of_another_length, row_twice, open_quote, noise, noise),
)
