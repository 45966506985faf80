"""LightGBM's options for the ranker, searched once at random, by seed, with a log that is kept.

::

    python -m bench.tuning CATALOG --pairs pairs.npz [--trials 40] [--log tuning.jsonl] [--result tuning]

Every trial is judged out of fold (folds of individuals). The whales are split in two by a hash of their names: the
first part chooses the trial, the second tells what the choice is worth on whales that had no say in it, beside the
default, with a 95 % interval over whales. Trial 0 is the default.

Cost: under half a minute a trial on one core once the pairs are gathered; ``--log`` keeps finished trials, and a
stopped search goes on behind them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.machine import write_result
from bench.out_of_fold import matcher_from
from bench.pair_draw import part_of
from bench.pair_file import add_options, pairs_from, protocol_from
from bench.progress import say
from bench.recipes import PROTOCOLS, Questions, out_of_fold, per_query, prepare
from reranker.metrics import bootstrap_by_group, paired_bootstrap
from reranker.ranker import RankerSettings

#: Protocols whose mean mAP@20 chooses the trial.
OBJECTIVE = ("all", "other_encounter")


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """Draw one trial's options."""
    return {
        "learning_rate": round(float(np.exp(rng.uniform(np.log(0.015), np.log(0.15)))), 4),
        "num_leaves": int(rng.choice([3, 4, 5, 7, 10, 15, 23, 31])),
        "min_data_in_leaf": int(rng.choice([10, 20, 40, 80, 160])),
        "lambda_l2": round(float(np.exp(rng.uniform(np.log(1), np.log(200)))), 2),
        "feature_fraction": round(float(rng.uniform(0.3, 1.0)), 2),
        "bagging_fraction": round(float(rng.uniform(0.5, 1.0)), 2),
        "max_bin": int(rng.choice([31, 63, 127])),
        "min_gain_to_split": float(rng.choice([0.0, 0.01, 0.1])),
        "truncation": int(rng.choice([10, 20, 30])),
        "monotone": bool(rng.random() < 0.75),
    }


def run(
    questions: Questions,
    trials: int = 40,
    seed: int = 0,
    log: Path | None = None,
    base: RankerSettings | None = None,
    tell: Callable[[str], None] = say,
) -> dict[str, Any]:
    """Search and return the figures as JSON-ready values.

    Args:
        questions: from :func:`bench.recipes.prepare`.
        trials: number of trials, the default among them.
        seed: of the drawing.
        log: file of finished trials (one JSON object a line), read first and added to.
        base: the default that trial 0 is.
    """
    base = base or RankerSettings(kind="lambdamart")
    rng = np.random.default_rng(seed)
    wanted = [{}, *(draw(rng) for _ in range(trials - 1))]
    known = _read_log(log, questions)
    records = []
    for number, changes in enumerate(wanted):
        settings = base.replace(**changes)
        record = known.get(settings.fingerprint())
        if record is None:
            scores = out_of_fold(questions, settings)
            found = {p: per_query(table, scores[p]) for p, table in questions.tables.items()}
            record = {"print": settings.fingerprint(), "changes": changes, "data": _print_of(questions)}
            record["ap"] = {p: table["ap"].tolist() for p, table in found.items()}
            if log is not None:
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(record) + "\n")
        records.append({**record, "trial": number, "changes": changes})
        tell(f"trial {number}: {json.dumps(changes)}")
    return _figures(questions, records, base)


def _figures(questions: Questions, records: list[dict[str, Any]], base: RankerSettings) -> dict[str, Any]:
    flat = {p: per_query(table, np.zeros(len(table.raw))) for p, table in questions.tables.items()}
    chooses = {p: table["individual"].map(part_of).to_numpy() == "tuning" for p, table in flat.items()}
    log = []
    for record in records:
        means = {
            part: {p: _mean(record["ap"][p], chooses[p] == (part == "tuning")) for p in flat}
            for part in ("tuning", "test")
        }
        objective = float(np.mean([means["tuning"][p] for p in OBJECTIVE if p in flat]))
        log.append({"trial": record["trial"], "changes": record["changes"], "objective": objective, **means})
    best = max(log, key=lambda entry: (entry["objective"], -entry["trial"]))
    judged = []
    for protocol, table in flat.items():
        rows = ~chooses[protocol]
        values, default = (np.array(records[i]["ap"][protocol])[rows] for i in (best["trial"], 0))
        who = table["individual"].to_numpy(str)[rows]
        judged.append(
            {
                "protocol": protocol,
                "queries": int(rows.sum()),
                "individuals": len(set(who)),
                "default": bootstrap_by_group(default, who)._asdict(),
                "best": bootstrap_by_group(values, who)._asdict(),
                "gain": paired_bootstrap(values, default, who)._asdict(),
            }
        )
    chosen = base.replace(**best["changes"]).to_dict()
    return {"trials": log, "best": best["trial"], "chosen": chosen, "on_other_whales": judged}


def _mean(values: Sequence[float], rows: np.ndarray) -> float:
    chosen = np.asarray(values, float)[rows]
    return float(chosen.mean()) if len(chosen) else float("nan")


def _print_of(questions: Questions) -> str:
    """Return a fingerprint of the rows and folds that trials are judged on."""
    table = questions.tables["all"]
    digest = hashlib.sha256(pd.util.hash_pandas_object(table.features, index=False).to_numpy().tobytes())
    digest.update(json.dumps([questions.folds, sorted(questions.fold_of.items())]).encode())
    return digest.hexdigest()[:16]


def _read_log(log: Path | None, questions: Questions) -> dict[str, dict[str, Any]]:
    if log is None or not log.is_file():
        return {}
    wanted, found = _print_of(questions), {}
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the last line of a search that was stopped while it wrote
        if record.get("data") == wanted:
            found[record["print"]] = record
    return found


def render(figures: dict[str, Any]) -> str:
    """Return the search as Markdown: the best trials, and what the choice is worth on other whales."""
    ordered = sorted(figures["trials"], key=lambda entry: -entry["objective"])
    names = list(figures["chosen"])
    lines = [
        "| trial | objective | all (other whales) | other encounters (other whales) | options |",
        "|---|---|---|---|---|",
    ]
    for entry in [*ordered[:5], *(e for e in ordered[5:] if e["trial"] == 0)]:
        options = ", ".join(f"{k} {entry['changes'][k]:g}" for k in names if k in entry["changes"]) or "the default"
        others = [f"{entry['test'][p]:.3f}" if p in entry["test"] else "–" for p in OBJECTIVE]
        lines.append(f"| {entry['trial']} | {entry['objective']:.4f} | {others[0]} | {others[1]} | {options} |")
    lines += ["", "| protocol | queries (whales) | default | chosen | gain |", "|---|---|---|---|---|"]
    for r in figures["on_other_whales"]:
        gain = "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**r["gain"])
        counts = f"{r['queries']} ({r['individuals']})"
        lines.append(
            f"| {PROTOCOLS[r['protocol']]} | {counts} | {r['default']['mean']:.3f} | {r['best']['mean']:.3f} | {gain} |"
        )
    footing = (
        f"mAP@20 out of fold, {len(figures['trials'])} trials; the objective is over one half of the whales, the "
        "second table over the other half."
    )
    return "\n".join([*lines, "", footing])


def main(arguments: Sequence[str] | None = None) -> int:
    """Search from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--trials", type=int, default=40, help="trials, the default among them (40)")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="keep finished trials here, and go on from them")
    options = parser.parse_args(arguments)
    questions = prepare(pairs_from(options), options.folds, options.seed)
    figures = run(questions, options.trials, options.seed, options.log)
    print(render(figures))
    if options.result:
        protocol = {**protocol_from(options), "trials": options.trials, "objective": list(OBJECTIVE)}
        write_result(options.result, figures, matcher_from(options).settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
