"""Turn measured results into the tables of the documents and the ranker's card: no figure is typed by hand.

::

    python -m bench.report            write the tables
    python -m bench.report --check    say whether these files are up to date (exit code 1 if not)

bench/RESULTS.md is written whole: every result in full, with when and on what it was measured. docs/how-good.md shows
the short ones between ``<!-- NAME -->`` and ``<!-- /NAME -->``, and the README the few figures of "headline". A result
that is not there is left out of all, with its heading. One that cannot be shown, because its file is damaged or of an
older layout, is left out too, named on standard error, and makes the exit code 1: measure it again.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import RESULTS, ResultError, read_result

README = Path(__file__).resolve().parents[1] / "README.md"
TABLES = README.parent / "docs" / "how-good.md"
FULL = Path(__file__).resolve().parent / "RESULTS.md"
CARD = README.parent / "reranker" / "models" / "ranker-aliked.md"
#: Methods in the ranker's card: name in the result -> heading.
CARD_METHODS = {
    "cosine": "cosine",
    "calibrated mean (WildFusion rule)": "calibrated mean",
    "logistic ranker": "logistic",
    "LightGBM ranker": "LightGBM",
    "ranker (blend) without the support of its list": "blend, own evidence alone",
    "ranker (blend)": "blend",
}
Result = dict[str, Any]
Text = Callable[[Result], str]


@dataclass(frozen=True)
class Block:
    """How one result is shown.

    Attributes:
        name: of the file in bench/results, and of the place in docs/how-good.md.
        title: heading in RESULTS.md.
        module: what measures it.
        full: the whole of it as Markdown.
        short: what docs/how-good.md shows; None if it is not shown there.
        plot: True if a picture of the result's name belongs to it (shown where the file is there).
        arguments: what the module's command needs.
    """

    name: str
    title: str
    module: str
    full: Text
    short: Text | None = None
    plot: bool = False
    arguments: str = "CATALOG"


# --- shared -----------------------------------------------------------------------------------------------------------


def rendered(module: str, function: str = "render") -> Text:
    """Return a text that is a module's ``render(figures)``; what is not Markdown is set as it is."""

    def text(result: Result) -> str:
        shown = getattr(importlib.import_module(module), function)(result["figures"]).strip("\n")
        return shown if "|---" in shown or not shown else f"```text\n{shown}\n```"

    return text


def _interval(value: dict[str, float]) -> str:
    return "{mean:.3f} ({low:.3f}–{high:.3f})".format(**value)


def _signed(value: dict[str, float]) -> str:
    return "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return [lines[0], "|" + "---|" * len(heads), *lines[1:]]


def command(block: Block, result: Result) -> str:
    """Return the command that makes the result again."""
    protocol = result["protocol"]
    queries = protocol.get("queries") if isinstance(protocol, dict) else None
    size = f" --queries {queries}" if queries is not None else ""
    words = f"{block.arguments}{size if block.arguments else ''}".split()
    target = ["--result", block.name] if words else []  # what takes no catalogue names its file itself
    return f"`{' '.join(['python -m', block.module, *words, *target])}`"


# --- accuracy ---------------------------------------------------------------------------------------------------------


def accuracy_table(result: Result, main_rows: bool = False) -> str:
    """Return the table of tasks: cosine, local matching and ranker side by side, with recall of the shortlist.

    Args:
        result: of bench.accuracy.
        main_rows: leave out years within themselves, and pairs of years where all earlier years are asked together.
    """
    figures = result["figures"]
    recall = {(r["task"], r["rule"]): r for r in figures["recall"]}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for record in figures["accuracy"]:
        rows.setdefault((record["task"], record["rule"]), {})[record["method"]] = record
    shipped = {"logistic": "logistic ranker", "lambdamart": "LightGBM ranker", "blend": "ranker (blend)"}
    ranker = shipped[figures["ranker"]["kind"]]
    wanted = _main_tasks([task for task, _ in recall]) if main_rows else None
    cells = []
    # In the order of the tasks; between years no encounter is shared, so the second rule would repeat the first.
    for task, rule in recall:
        methods = rows.get((task, rule), {})
        if not methods or (rule != "all" and methods == _with_rule(rows[task, "all"], rule)):
            continue
        if wanted is None or task in wanted:
            cells.append(_accuracy_cells(task, rule, methods, methods[ranker], recall[task, rule]))
    heads = ["question", "matches that count", "queries (whales)", "cosine alone", "local matching alone", "ranker"]
    heads += ["ranker's gain", "top-1", "recall at 20 / 50 / 100"]
    return "\n".join([*_table(heads, cells), "", _footing(result)])


def _accuracy_cells(
    task: str, rule: str, methods: dict[str, Any], chosen: dict[str, Any], found: dict[str, Any]
) -> list[str]:
    return [
        task,
        {"all": "all", "other_encounter": "other encounters"}[rule],
        f"{chosen['queries']} ({chosen['individuals']})",
        f"{methods['cosine']['map20']['mean']:.3f}",
        f"{methods['local matching alone']['map20']['mean']:.3f}",
        "**{mean:.3f}** ({low:.3f}–{high:.3f})".format(**chosen["map20"]),
        _signed(chosen["gain_over_cosine"]),
        f"{chosen['top1']['mean']:.2f}",
        " / ".join(f"{found[size]:.2f}" for size in ("20", "50", "100")),
    ]


def _main_tasks(tasks: Sequence[str]) -> set[str]:
    """Return all years, views, and of every later year the question with most earlier years."""
    widest: dict[str, str] = {}
    kept = set()
    for task in tasks:
        later, arrow, earlier = task.partition(" -> ")
        if arrow and later.startswith("top: "):
            if later not in widest or earlier.count("+") > widest[later].count("+"):
                widest[later] = task
        elif not task.endswith(" within"):
            kept.add(task)
    return kept | set(widest.values())


def _with_rule(methods: dict[str, Any], rule: str) -> dict[str, Any]:
    return {name: {**record, "rule": rule} for name, record in methods.items()}


def _footing(result: Result) -> str:
    figures, protocol = result["figures"], result["protocol"]
    errors = figures["ranker"]["calibration_error"]
    calibration = ", ".join(
        f"{value:.3f} ({name.replace('_', ' ')})" for name, value in errors.items() if value is not None
    )
    parts = [
        f"mAP@20, 95 % intervals over whales; {figures['photographs']:,} photographs of {figures['individuals']}",
        f"whales ({protocol['source']}).",
        f"{figures['pairs']:,} pairs. Expected calibration error of the probabilities shown: {calibration}.",
        f"Ranker chosen out of fold: {figures['ranker']['kind']}.",
    ]
    return " ".join(parts)


def _accuracy_full(result: Result) -> str:
    return accuracy_table(result) + "\n\nEvery method:\n\n" + rendered("bench.accuracy")(result)


# --- descriptor and pairs ---------------------------------------------------------------------------------------------


def _descriptor_full(result: Result) -> str:
    from bench.descriptor import table_of

    return table_of(result["figures"])


def _descriptor_short(result: Result) -> str:
    """Return one row per model: all matches, other encounters, later years, speed."""
    rows = []
    for model in result["figures"]:
        found = {(p["protocol"], p["rule"]): p for p in model["protocols"]}
        every, other = (found.get(("top: all years", rule)) for rule in ("all", "other_encounter"))
        cells = [_interval(p["map20"]) if p else "–" for p in (every, other, model["later_years"])]
        recall = f"{other['recall']['50']:.2f}" if other else "–"
        rows.append([model["model"], *cells, recall, f"{model['photographs_per_second']:g}"])
    heads = ["global descriptor alone", "all matches", "other encounters", "later years → all earlier"]
    heads += ["other encounters: recall at 50", "photographs a second"]
    words = f"mAP@20 of all photographs from above, 95 % intervals over whales ({result['protocol']['remark']})."
    return "\n".join([*_table(heads, rows), "", words])


def _pairs_full(result: Result) -> str:
    from bench.pair_causes import render as render_causes
    from bench.pairs import render

    words = "Pairs of whales that no network was trained on; intervals over whales."
    causes = result["figures"].get("causes")
    if causes:
        words += f" Found at 1 % false positives, by what the photographs are like:\n\n{render_causes(causes)}"
    return f"{render(result['figures']['kinds'], result['figures']['impostors'])}\n\n{words}"


# --- what the parts add, and whether probabilities hold ---------------------------------------------------------------


def _ablation_short(result: Result) -> str:
    """Return what leaving out each group costs, from above, and what the date adds."""
    from bench.ablation import ALL, date_in_words

    part = "top: all years"
    records = {(r["recipe"], r["protocol"]): r for r in result["figures"]["recipes"] if r["part"] == part}
    rules = [rule for rule in ("all", "other_encounter") if (ALL, rule) in records]
    names = [ALL] + [n for n in dict.fromkeys(name for name, _ in records) if n.startswith("without")]
    rows = []
    for name in names:
        found = [records[name, rule] for rule in rules]
        rows.append(
            [name, *(f"**{r['map20']['mean']:.3f}**" if name == ALL else _signed(r["difference"]) for r in found)]
        )
    heads = ["what the ranker sees", *({"all": "all matches", "other_encounter": "other encounters"}[r] for r in rules)]
    words = "mAP@20 out of fold, and its change with 95 % intervals over whales. " + date_in_words(
        result["figures"], part
    )
    return "\n".join([*_table(heads, rows), "", words])


# --- scenarios --------------------------------------------------------------------------------------------------------


def _scenarios_short(result: Result) -> str:
    """Return scenario, size, challenge score, and the score without the query's own encounter."""
    from bench.scenarios.running import TITLES

    rows = []
    for r in result["figures"]["scenarios"]:
        other = r["other_encounter"]
        rows.append(
            [
                f"{r['scenario'].removeprefix('scenario').lstrip('0')}: {TITLES.get(r['scenario'], '')}",
                f"{r['queries']:,} / {r['database']:,}",
                _interval(r["official"]),
                f"{r['all']['cosine']['map20']['mean']:.3f}",
                f"{r['all']['recall']['50']:.2f}",
                "–" if other is None else _interval(other["map20"]),
            ]
        )
    heads = ["scenario", "queries / database", "challenge score", "cosine alone", "recall at 50"]
    overall = result["figures"]["overall"]
    words = f"mAP@20 over all {result['figures']['queries']:,} queries: **{overall['mean']:.3f}** "
    words += "({low:.3f}–{high:.3f}).".format(**overall)
    if result["figures"]["winners"]:
        winners = ", ".join(f"{place} {value:.4f}" for place, value in result["figures"]["winners"].items())
        words += f" The challenge's private scores: {winners} (winners' repository)."
    else:
        words += " This is not the published test set: not comparable with the challenge's leaderboard."
    return "\n".join([*_table([*heads, "without own encounter"], rows), "", words])


# --- robustness and peers ---------------------------------------------------------------------------------------------


def _robustness_short(result: Result) -> str:
    """Say what hurts most under all matches; the plot shows the rest."""
    from bench.robustness import SCORERS

    figures = result["figures"]
    parts = []
    for scorer, name in SCORERS.items():
        records = [r for r in figures["records"] if r["scorer"] == scorer and r["rule"] == "all"]
        changed = sorted(
            (r for r in records if r["degradation"] != "none"), key=lambda record: record["map20_change"]["mean"]
        )
        base = next((r for r in records if r["degradation"] == "none"), None)
        if base is None or not changed:
            continue
        worst = ", ".join(f"{r['label']} {_signed(r['map20_change'])}" for r in changed[:3])
        parts.append(f"{name} {base['map20']['mean']:.3f} as they are; most is lost by: {worst}")
    return "\n".join([f"mAP@20 of {figures['queries']} queries, all matches:", "", *(f"* {part}." for part in parts)])


def _peers_short(result: Result) -> str:
    """Return one row per peer: mAP@20 under each rule and the time of a query."""
    from bench.peers.command import in_words
    from bench.peers.questions import RULES

    figures = result["figures"]
    records = {(r["peer"], r["rule"]): r for r in figures["records"]}
    rules = [rule for rule in RULES if any(key[1] == rule for key in records)]
    rows = [
        [
            about["peer"],
            *(_interval(records[about["peer"], rule]["map20"]) for rule in rules),
            in_words(about["seconds_query"]),
        ]
        for about in figures["peers"]
    ]
    heads = ["method", *(f"{RULES[r]} ({next(v['queries'] for k, v in records.items() if k[1] == r)})" for r in rules)]
    words = (
        f"mAP@20 (number of queries in brackets), 95 % intervals over whales; {figures['photographs']:,} photographs; "
        "time of a query in a described catalogue, one process."
    )
    return "\n".join([*_table([*heads, "a query"], rows), "", words])


# --- speed ------------------------------------------------------------------------------------------------------------


def stages_table(result: Result) -> str:
    """Return where the time goes, from nothing."""
    f, machine = result["figures"], result["machine"]
    rows = [
        (
            "describing (global descriptor, regions, 512 keypoints)",
            f"{f['photographs_per_second']:.1f} photographs a second",
        ),
        ("the same photographs again, from the store", f"{f['photographs'] / f['seconds_index_again']:,.0f} a second"),
        (
            "comparing and verifying a list",
            f"{f['pairs_per_second']:.0f} pairs a second: quick looks at {f['quick_looks_per_second']:.0f} a second, "
            f"LightGlue at {f['second_looks_per_second']:.1f} a second for {f['second_looks'] / f['pairs']:.0%} of it",
        ),
        ("ranking", f"{f['pairs'] / f['seconds_rank']:,.0f} pairs a second"),
        (
            "memory",
            f"{f['peak_mib']:.0f} MiB, and up to {f['peak_mib_of_largest_worker']:.0f} MiB for each of "
            f"{f['workers']} workers",
        ),
        ("importing the package", f"{f['seconds_import']:.2f} s"),
    ]
    where = (
        f"{machine['cpu']}, {machine['cores']} cores, no GPU; {f['photographs']} real photographs, {f['pairs']:,} pairs"
    )
    note = f"{where}; a shared machine, the start of the processes included."
    return "\n".join([*_table(["stage", "measured"], rows), "", note])


def _end_to_end_short(result: Result) -> str:
    """Return what the challenge's ten scenarios take on two cores."""
    f, machine = result["figures"], result["machine"]
    minutes = {name: (f["extrapolation"] or f["runs"])[name]["seconds"] / 60 for name in f["runs"]}
    rows = [
        (name, f"{value:.0f}", f"{f['targets'][name]:.0f}" if name in f["targets"] else "–")
        for name, value in minutes.items()
    ]
    first = next(iter(f["runs"].values()))
    note = (
        f"{f['whole']['queries']:,} queries and {f['whole']['photographs']:,} photographs, extrapolated from "
        f"{f['fraction']:.0%} of them; memory of all processes at most {first['memory_mib']:,.0f} MiB (aim "
        f"{f['targets']['memory_mib']:,.0f}); {machine['cpu']}, {machine['cores']} cores, no GPU."
    )
    return "\n".join([*_table(["ten scenarios of the challenge's own sizes", "minutes", "aim"], rows), "", note])


def _matcher_short(result: Result) -> str:
    """Return pairs a second beside kornia's LightGlue, on one thread."""
    f, machine = result["figures"], result["machine"]
    rows = []
    counts = list(f["keypoints"])
    speeds = [
        {row["name"]: row["pairs_per_second"] for row in f["keypoints"][count]["rows"] if row["threads"] == 1}
        for count in counts
    ]
    base = "kornia, full depth, batch 16"
    for name in speeds[0]:
        if name.startswith(("kornia", "scarmatch")) and "XFeat" not in name:
            cells = [f"{s[name]:.1f} ({s[name] / s[base]:.1f} x)" if name in s else "–" for s in speeds]
            rows.append((name, *cells))
    heads = ["pairs a second on one thread (x kornia's batched)", *(f"{count} keypoints" for count in counts)]
    note = (
        f"{f['pairs']} pairs, the same photographs and weights for all. A list as shipped: nearest neighbours for all "
        f"of it, LightGlue for {f['share_of_a_list']:.1%}. {machine['cpu']}, float32."
    )
    return "\n".join([*_table(heads, rows), "", note])


def _verification_short(result: Result) -> str:
    """Return the verdicts beside USAC_MAGSAC."""
    lines = importlib.import_module("bench.speed.verification").verdict_lines(result["figures"])
    return "\n".join(f"* {line}" for line in lines)


# --- all blocks -------------------------------------------------------------------------------------------------------

BLOCKS: tuple[Block, ...] = (
    Block(
        "accuracy", "The engine beside its parts", "bench.accuracy", _accuracy_full,
        lambda result: accuracy_table(result, main_rows=True),
    ),
    Block("scenarios", "The challenge's scenarios", "bench.scenarios", rendered("bench.scenarios"), _scenarios_short),
    Block("beyond", "Beyond the challenge", "bench.beyond", rendered("bench.beyond")),
    Block("crossvalidated", "Cross-validated", "bench.crossvalidated", rendered("bench.crossvalidated")),
    Block("peers", "Beside other people's methods", "bench.peers", rendered("bench.peers"), _peers_short),
    Block(
        "robustness", "Worse photographs", "bench.robustness", rendered("bench.robustness"), _robustness_short,
        plot=True,
    ),
    Block(
        "reliability", "Can the probabilities be believed?", "bench.reliability", rendered("bench.reliability"),
        rendered("bench.reliability"), plot=True, arguments="CATALOG --pairs pairs.npz",
    ),
    Block("new_individual", "New individuals", "bench.new_individual", rendered("bench.new_individual")),
    Block("errors", "Where it fails", "bench.errors", rendered("bench.errors"), arguments="CATALOG --output FOLDER"),
    Block(
        "ablation", "What each kind of evidence adds", "bench.ablation", rendered("bench.ablation"), _ablation_short,
        arguments="CATALOG --pairs pairs.npz",
    ),
    Block(
        "tuning", "Choice of the ranker's options", "bench.tuning", rendered("bench.tuning"),
        arguments="CATALOG --pairs pairs.npz",
    ),
    Block(
        "descriptor", "Global descriptors alone", "bench.descriptor", _descriptor_full, _descriptor_short,
        arguments="eval CATALOG --model MODEL",
    ),
    Block("pairs", "Local evidence of single pairs", "bench.pairs", _pairs_full, _pairs_full),
    Block("impostors", "Pairs of different animals", "bench.speed.impostors", rendered("bench.speed.impostors")),
    Block("stages", "Speed, stage by stage", "bench.speed.stages", stages_table, stages_table),
    Block(
        "end_to_end", "Speed, end to end", "bench.speed.end_to_end", rendered("bench.speed.end_to_end"),
        _end_to_end_short,
    ),
    Block("pictures", "Speed of pictures", "bench.speed.pictures", rendered("bench.speed.pictures")),
    Block("matcher", "Speed of matching", "bench.speed.matcher", rendered("bench.speed.matcher"), _matcher_short),
    Block(
        "quick_looks",
        "Pairs that LightGlue need not see",
        "bench.speed.quick_looks",
        rendered("bench.speed.quick_looks"),
    ),
    Block(
        "verification", "Geometric verification", "bench.speed.verification",
        rendered("bench.speed.verification"), _verification_short, arguments="",
    ),
)  # fmt: skip


class Report:
    """The results that are there, and the texts made of them.

    Attributes:
        problems: results that are there and cannot be shown, with the reason.
    """

    def __init__(self, results: Path = RESULTS, blocks: Sequence[Block] = BLOCKS) -> None:
        self._results = results
        self._blocks = tuple(blocks)
        self.problems: list[str] = []
        self._shown: list[tuple[Block, Result, str, str]] = []
        for block in self._blocks:
            path = results / f"{block.name}.json"
            if not path.is_file():
                continue
            try:
                result = read_result(path)
                short = block.short(result) if block.short is not None else ""
                self._shown.append((block, result, block.full(result), short))
            except ResultError as error:
                self.problems.append(str(error))
            except (ImportError, LookupError, TypeError, ValueError, AttributeError) as error:
                self.problems.append(
                    f"{path}: cannot be shown ({type(error).__name__}: {error}); measure it again with "
                    f"`python -m {block.module}`"
                )

    def fill(self, text: str) -> str:
        """Return the text of docs/how-good.md with every block renewed; a block without a result becomes empty.

        Raises:
            ValueError: a block has no place in the text.
        """
        found = {block.name: self._short_block(block, result, short) for block, result, _, short in self._shown}
        for block in self._blocks:
            if block.short is None:
                continue
            text = _replace(text, block.name, found.get(block.name, ""), TABLES.name)
        return text

    def _short_block(self, block: Block, result: Result, short: str) -> str:
        picture = self._plot(block, "../bench/results")
        return "\n\n".join([f"**{block.title}**, by {command(block, result)}:", *picture, short]) + "\n"

    def fill_readme(self, text: str) -> str:
        """Return the README's text with its few figures renewed; unchanged without a result."""
        found = next(((b, result) for b, result, *_ in self._shown if b.name == "accuracy"), None)
        if found is None:
            return text
        return _replace(text, "headline", headline(*found) + "\n", README.name)

    def fill_card(self, text: str) -> str:
        """Return the text of the ranker's card with its figures renewed; unchanged without a result."""
        found = next((result for block, result, *_ in self._shown if block.name == "accuracy"), None)
        if found is None:
            return text
        return _replace(text, "figures", card_table(found) + "\n", CARD.name)

    def page(self) -> str:
        """Return the whole of RESULTS.md."""
        lines = [
            "# Results",
            "",
            "Written by `python -m bench.report` from the files in [results/](results/), which hold every figure with "
            "machine, versions, settings and protocol. What the tables mean is said where they are made: the head of "
            "each module.",
        ]
        if self._shown:
            lines += ["", *(f"* [{block.title}](#{_anchor(block.title)})" for block, *_ in self._shown)]
        for block, result, full, _ in self._shown:
            lines += ["", f"## {block.title}", "", _about(block, result)]
            for part in (*self._plot(block, "results"), full):
                lines += ["", part]
        return "\n".join(lines) + "\n"

    def _plot(self, block: Block, folder: str) -> list[str]:
        there = block.plot and (self._results / f"{block.name}.png").is_file()
        return [f"![{block.title}]({folder}/{block.name}.png)"] if there else []


def headline(block: Block, result: Result) -> str:
    """Return the README's table: the questions from above, by the global descriptor alone and by the whole engine."""
    figures = result["figures"]
    shipped = {"logistic": "logistic ranker", "lambdamart": "LightGBM ranker", "blend": "ranker (blend)"}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for record in figures["accuracy"]:
        rows.setdefault((record["task"], record["rule"]), {})[record["method"]] = record
    kept = _main_tasks([task for task, _ in rows])
    cells = []
    for record in figures["recall"]:  # in the order of the tasks
        task, rule = record["task"], record["rule"]
        years = " -> " in task
        # Between years no encounter is shared, so the second rule would repeat the first.
        if task not in kept or not task.startswith("top: ") or (years and rule != "all"):
            continue
        cosine, ranker = (rows[task, rule][name]["map20"] for name in ("cosine", shipped[figures["ranker"]["kind"]]))
        chosen = rows[task, rule][shipped[figures["ranker"]["kind"]]]
        said = {"all": "", "other_encounter": ", matches of other encounters only"}[rule]
        shown = [_interval(cosine), f"**{ranker['mean']:.3f}** ({ranker['low']:.3f}–{ranker['high']:.3f})"]
        counts = f"{chosen['queries']} ({chosen['individuals']})"
        cells.append([f"{task}{said}", counts, *shown, f"{chosen['top1']['mean']:.2f}"])
    heads = ["question", "queries (whales)", "global descriptor alone", "scarmatch", "top-1"]
    return "\n".join([f"By {command(block, result)}:", "", *_table(heads, cells)])


def card_table(result: Result) -> str:
    """Return the table of the ranker's card: every question, every method, and the errors of the calibration."""
    figures = result["figures"]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for record in figures["accuracy"]:
        rows.setdefault((record["task"], record["rule"]), {})[record["method"]] = record["map20"]
    cells = [
        [task, rule.replace("_", " "), *(_interval(found[name]) for name in CARD_METHODS)]
        for (task, rule), found in rows.items()
    ]
    errors = figures["ranker"]["calibration_error"]
    said = ", ".join(f"{value:.3f} ({rule.replace('_', ' ')})" for rule, value in errors.items() if value is not None)
    words = f"Expected calibration error of the first 20 of a list, cross-fitted: {said}."
    return "\n".join([*_table(["question", "matches", *CARD_METHODS.values()], cells), "", words])


def _replace(text: str, name: str, filled: str, file: str) -> str:
    """Put a text between the two marks of a block.

    Raises:
        ValueError: the marks are not there.
    """
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not place.search(text):
        raise ValueError(f"{file} has no place for the block {name!r}: add <!-- {name} --> and <!-- /{name} -->")
    return place.sub(lambda match: match[1] + filled + match[2], text)


def _anchor(title: str) -> str:
    """Return the name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _about(block: Block, result: Result) -> str:
    """Say how, when and on what a result was measured."""
    machine, protocol = result["machine"], result["protocol"]
    if isinstance(protocol, str):
        words = protocol
    else:
        plain = {key: value for key, value in protocol.items() if isinstance(value, str | int | float)}
        words = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in plain.items())
    where = f"{result['created'][:10]}, {machine['cpu']}, {machine['cores']} cores"
    return f"{command(block, result)} ({where}; [file](results/{block.name}.json)). Protocol: {words}."


def fill(text: str, results: Path = RESULTS) -> str:
    """Return the text of docs/how-good.md with every block renewed from the results (see :meth:`Report.fill`)."""
    return Report(results).fill(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Renew or check the tables of the README, docs/how-good.md, RESULTS.md and the ranker's card."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a table is out of date")
    options = parser.parse_args(arguments)
    report = Report()
    old = {path: path.read_text(encoding="utf-8") if path.is_file() else "" for path in (README, TABLES, FULL, CARD)}
    new = {
        README: report.fill_readme(old[README]),
        TABLES: report.fill(old[TABLES]),
        FULL: report.page(),
        CARD: report.fill_card(old[CARD]),
    }
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if options.check:
        stale = [path.name for path in new if old[path] != new[path]]
        if stale:
            print(f"out of date: {', '.join(stale)}; run `python -m bench.report`", file=sys.stderr)
        return int(bool(stale or report.problems))
    for path, text in new.items():
        path.write_text(text, encoding="utf-8")
    return int(bool(report.problems))


if __name__ == "__main__":
    sys.exit(main())
