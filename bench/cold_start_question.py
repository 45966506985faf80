"""A fresh process that opens a described catalogue and asks one question; prints seconds, work and memory as JSON.

``python -m bench.cold_start_question FILE``, as :mod:`bench.measurements.cold_start` writes the file. Nothing of
scarmatch is imported before the clock of imports starts, and only names that the tree before has too.
"""

import json
import resource
import sys
import time
from importlib import import_module
from itertools import pairwise
from pathlib import Path

_BEGAN = time.perf_counter()
_MODULES = ("scarmatch", "engine.search.pipeline", "engine.search.allowed")


def main(file: Path) -> None:
    """Open, ask, and print the figures."""
    asked = json.loads(file.read_text(encoding="utf-8"))
    clock, work = [asked["started"], _BEGAN], [0.0, time.process_time()]

    def mark() -> None:
        clock.append(time.perf_counter())
        work.append(time.process_time())

    scarmatch, pipeline, allowed_module = map(import_module, _MODULES)
    read, make = scarmatch.Catalog.read, scarmatch.Matcher  # the names of a package are loaded when they are asked for
    mark()
    catalog = read(asked["catalogue"])
    mark()
    settings = scarmatch.MatcherSettings.from_dict(asked["settings"])
    matcher = make(settings, asked["store"], workers=asked["workers"])
    index = matcher.index(catalog)
    queries = index.subset([asked["query"]])
    mark()
    rules = scarmatch.CandidateFilter(since=asked["since"], exclude_encounter=True)
    kept = matcher.filter_report(index, rules).left
    mark()
    if asked["answer"]:
        answers = matcher.match(queries, index, rules)
        found = answers["image_id"].tolist()
    else:
        import numpy as np

        pool = matcher.pair_pool(matcher.store_for(catalog))
        allowed = allowed_module.AllowedCandidates(queries, index, rules)
        stage = pipeline.Matching(queries, index, pool, matcher.first_stage)
        retrieval = stage.retrieval(allowed, np.zeros(0, np.int64), settings.shortlist.cosine_weight)
        found = [catalog.ids[row] for row in retrieval.best(settings.shortlist.size).row[:20]]
    mark()
    matcher.close()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "clock": [b - a for a, b in pairwise(clock)],
        "work": [b - a for a, b in pairwise(work)],
        "memory": _peak_mib(),
        "torch": "torch" in sys.modules,
        "children_work": children.ru_utime + children.ru_stime,
        "kept": kept,
        "found": found,
    }
    print(json.dumps(figures))


def _peak_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
