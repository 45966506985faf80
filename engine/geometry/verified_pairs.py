"""The geometric verification of many pairs in arrays: what a list of candidates is measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.geometry.limits import KIND_NAMES
from engine.geometry.model_statistics import STATISTICS
from engine.records import Verification
from features.records import BoolArray

_NONE = Verification.none(0)
#: Numbers of :class:`engine.records.Verification`: those that the kernels find, and the plausibility made of them.
NUMBERS = (*(STATISTICS.names or ()), "plausibility")


@dataclass(frozen=True, eq=False)
class VerifiedPairs:
    """What :class:`engine.records.Verification` says of P pairs with M correspondences in all, pair by pair.

    Attributes:
        kinds: (P,) int64 index into :data:`engine.geometry.limits.KIND_NAMES`, -1 where no model was found.
        models: (P, 3, 3) float64.
        inliers: (M,) bool.
        offsets: (P + 1,) int64, pair k owns the correspondences ``offsets[k]`` to ``offsets[k + 1]``.
        numbers: by name of :data:`NUMBERS` the (P,) float64 values, neutral where no model was found.
    """

    kinds: npt.NDArray[np.int64]
    models: npt.NDArray[np.float64]
    inliers: BoolArray
    offsets: npt.NDArray[np.int64]
    numbers: dict[str, npt.NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.kinds)

    @cached_property
    def found(self) -> BoolArray:
        """(P,) bool, whether a model was found."""
        return self.kinds >= 0

    @classmethod
    def of_statistics(
        cls,
        kinds: npt.NDArray[np.int64],
        models: npt.NDArray[np.float64],
        inliers: BoolArray,
        statistics: npt.NDArray[np.void],
        offsets: npt.NDArray[np.int64],
        plausibility: npt.NDArray[np.float64],
    ) -> VerifiedPairs:
        """Take the answer of :func:`engine.geometry.batch.estimate_batch`, and the (P,) plausibilities."""
        columns = {name: statistics[name] for name in STATISTICS.names or ()} | {"plausibility": plausibility}
        numbers = {name: np.where(kinds >= 0, values, getattr(_NONE, name)) for name, values in columns.items()}
        return cls(kinds, models.reshape(-1, 3, 3), inliers, offsets, numbers)

    @classmethod
    def of(cls, records: Sequence[Verification]) -> VerifiedPairs:
        """Put the records of pairs side by side."""
        lengths = [len(record.inliers) for record in records]
        return cls(
            np.array([KIND_NAMES.index(record.kind) if record.ok else -1 for record in records], np.int64),
            np.array([record.model for record in records], np.float64).reshape(-1, 3, 3),
            np.concatenate([np.zeros(0, bool), *(record.inliers for record in records)]),
            np.cumsum([0, *lengths], dtype=np.int64),
            {name: np.array([getattr(record, name) for record in records], np.float64) for name in NUMBERS},
        )

    def records(self) -> list[Verification]:
        """Return one record per pair."""
        bounds, found = self.offsets.tolist(), []
        numbers = {name: values.tolist() for name, values in self.numbers.items()}
        for pair, kind in enumerate(self.kinds.tolist()):
            values: dict[str, Any] = {name: column[pair] for name, column in numbers.items()}
            values["n_inliers"] = int(values["n_inliers"])
            values["ok"], values["kind"] = kind >= 0, KIND_NAMES[kind] if kind >= 0 else _NONE.kind
            values["model"], values["inliers"] = self.models[pair], self.inliers[bounds[pair] : bounds[pair + 1]]
            found.append(Verification.of(values))
        return found


assert {field.name for field in fields(Verification)} == {*NUMBERS, "ok", "kind", "model", "inliers"}
