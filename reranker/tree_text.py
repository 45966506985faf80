"""The text in which LightGBM keeps its trees, read and checked before native code sees it.

LightGBM trusts its files: a wrong length or a child that does not exist ends the process. Here every line that its
reader uses is checked, and nothing else is handed on: parameters of the training, which predictions do not need, stay
behind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

MAX_LEAVES = 4096
_HEADER = (
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective"),
    *("feature_names", "monotone_constraints", "feature_infos", "tree_sizes"),
)
#: Lines of a tree: name -> how many numbers it holds, by its leaves.
_PER_SPLIT = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_PER_INNER = ("internal_value", "internal_weight", "internal_count")
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")
_SINGLE = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_CATEGORIES = ("cat_boundaries", "cat_threshold")
_INFO = re.compile(r"none|\[[-+0-9.e]+:[-+0-9.e]+\]|-?\d+(:-?\d+)*")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?")


def checked_trees(text: str, names: Sequence[str]) -> str:
    """Return the part of a model's text that LightGBM needs to predict.

    Args:
        text: as ``Booster.model_to_string`` writes it.
        names: of the features, in order.

    Raises:
        ValueError: it is not a whole and sound model of these features; the message says where.
    """
    if not text.isascii():
        raise ValueError("the trees are no plain text")
    head, found, rest = text.partition("\n\nTree=0\n")
    if not found:
        raise ValueError("there is no tree")
    header = _fields(head.removeprefix("tree\n"), "the head")
    _check_header(head, header, names)
    body, position = "Tree=0\n" + rest, 0
    for number, size in enumerate(_whole(header["tree_sizes"], "tree_sizes")):
        block = body[position : position + size]
        if size <= 0 or len(block) != size or not block.startswith(f"Tree={number}\n"):
            raise ValueError(f"tree {number} is not where the head says")
        _check_tree(_fields(block.partition("\n")[2], f"tree {number}"), f"tree {number}", len(names))
        position += size
    if not body[position:].startswith("end of trees\n"):
        raise ValueError("the trees do not end where the head says")
    return f"{head}\n\n{body[:position]}end of trees\n"


def _fields(text: str, where: str) -> dict[str, str]:
    """Return the values of lines NAME=VALUE."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        if not line:
            continue
        name, equals, value = line.partition("=")
        if not equals or name in fields:
            raise ValueError(f"{where} has a line that is none of its own: {line[:40]!r}")
        fields[name] = value
    return fields


def _check_header(head: str, header: Mapping[str, str], names: Sequence[str]) -> None:
    if not head.startswith("tree\n") or set(header) - set(_HEADER):
        raise ValueError("the head is not that of trees")
    fixed = {
        "num_class": "1",
        "num_tree_per_iteration": "1",
        "label_index": "0",
        "max_feature_idx": str(len(names) - 1),
        "objective": "lambdarank",
        "feature_names": " ".join(names),
    }
    for name, value in fixed.items():
        if header.get(name) != value:
            raise ValueError(f"the head's {name} is {header.get(name, 'missing')[:40]!r}, not {value[:40]!r}")
    if header.get("version") not in ("v3", "v4"):
        raise ValueError(f"the trees are of version {header.get('version')!r}")
    infos = header.get("feature_infos", "").split(" ")
    if len(infos) != len(names) or not all(_INFO.fullmatch(info) for info in infos):
        raise ValueError("the head's feature_infos are not one for each feature")
    if "monotone_constraints" in header:
        constraints = _whole(header["monotone_constraints"], "monotone_constraints")
        if len(constraints) != len(names) or not set(constraints) <= {-1, 0, 1}:
            raise ValueError("the head's monotone_constraints are not one for each feature")
    if not _whole(header.get("tree_sizes", ""), "tree_sizes"):
        raise ValueError("the head has no tree_sizes")


def _check_tree(fields: Mapping[str, str], where: str, n_features: int) -> None:
    leaves = _single(fields, "num_leaves", where)
    categories = _single(fields, "num_cat", where)
    if not 1 <= leaves <= MAX_LEAVES or not 0 <= categories < leaves or _single(fields, "is_linear", where) != 0:
        raise ValueError(f"{where} has {leaves} leaves and {categories} splits by category")
    lengths = dict.fromkeys((*_PER_SPLIT, *_PER_INNER), leaves - 1) | dict.fromkeys(_PER_LEAF, leaves)
    known = {*lengths, *_SINGLE, *(_CATEGORIES if categories else ())}
    if set(fields) - known:
        raise ValueError(f"{where} has a line that is none of its own: {min(set(fields) - known)[:40]!r}")
    # A tree of one leaf may leave out all but its value.
    needed = known if leaves > 1 else {*_SINGLE, "leaf_value"}
    if needed - set(fields):
        raise ValueError(f"{where} lacks {min(needed - set(fields))}")
    for name in sorted(set(fields) & set(lengths)):
        # A split of what is missing from all that is known has an infinite threshold.
        count = len(_numbers(fields[name], f"{where}, {name}", infinite=name == "threshold"))
        if count != lengths[name] and (leaves > 1 or count or name == "leaf_value"):
            raise ValueError(f"{where} has another number of {name} than it has leaves")
    if len(_numbers(fields["shrinkage"], f"{where}, shrinkage")) != 1:
        raise ValueError(f"{where} has no single shrinkage")
    if leaves > 1:
        _check_splits(fields, where, n_features, leaves, categories)


def _check_splits(fields: Mapping[str, str], where: str, n_features: int, leaves: int, categories: int) -> None:
    """Check that the splits make one tree: every child there is once, and below its parent."""
    if not all(0 <= feature < n_features for feature in _whole(fields["split_feature"], where)):
        raise ValueError(f"{where} splits by a feature that does not exist")
    if min(*_whole(fields["leaf_count"], where), *_whole(fields["internal_count"], where)) < 0:
        raise ValueError(f"{where} counts less than nothing")
    children = [_whole(fields[name], where) for name in ("left_child", "right_child")]
    for parent, pair in enumerate(zip(*children, strict=True)):
        if any(child >= 0 and child <= parent for child in pair):
            raise ValueError(f"{where} has a split above its own parent")
    expected = sorted([*range(-leaves, 0), *range(1, leaves - 1)])
    if sorted(children[0] + children[1]) != expected:
        raise ValueError(f"{where} has splits or leaves that no split leads to")
    boundaries = _whole(fields["cat_boundaries"], where) if categories else [0]
    words = _whole(fields["cat_threshold"], where) if categories else []
    if len(boundaries) != categories + 1 or boundaries[0] != 0 or boundaries[-1] != len(words):
        raise ValueError(f"{where} has sets of categories that do not fit")
    if sorted(boundaries) != boundaries or not all(0 <= word < 2**32 for word in words):
        raise ValueError(f"{where} has sets of categories that do not fit")
    thresholds = _numbers(fields["threshold"], where, infinite=True)
    for kind, threshold in zip(_whole(fields["decision_type"], where), thresholds, strict=True):
        # Bit 0: by category; bit 1: unknown goes left; bits 2 and 3: what counts as unknown (none, zero, NaN).
        if not 0 <= kind < 16 or kind >> 2 > 2:
            raise ValueError(f"{where} has a split of an unknown kind")
        if kind & 1 and not (0 <= threshold < categories and threshold == int(threshold)):
            raise ValueError(f"{where} splits by a set of categories that does not exist")


def _single(fields: Mapping[str, str], name: str, where: str) -> int:
    values = _whole(fields.get(name, ""), f"{where}, {name}")
    if len(values) != 1:
        raise ValueError(f"{where} has no single {name}")
    return values[0]


def _whole(text: str, where: str) -> list[int]:
    numbers = text.split(" ") if text else []
    if not all(re.fullmatch(r"-?\d{1,10}", number) for number in numbers):
        raise ValueError(f"{where} holds what is no whole number")
    return [int(number) for number in numbers]


def _numbers(text: str, where: str, infinite: bool = False) -> list[float]:
    numbers = text.split(" ") if text else []
    if not all(_NUMBER.fullmatch(number) or (infinite and number == "inf") for number in numbers):
        raise ValueError(f"{where} holds what is no number")
    values = [float(number) for number in numbers]
    if not infinite and not all(map(math.isfinite, values)):
        raise ValueError(f"{where} holds a number that is not finite")
    return values
