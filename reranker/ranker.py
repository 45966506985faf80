"""The ranker: raw pairs or their features in, scores and probabilities out; fitted, saved as one JSON file, explained.

Three kinds behind one interface: "logistic" (the baseline to beat where training queries are few), "lambdamart"
(LightGBM) and "blend" (the mean of both on a common scale of log-odds). LightGBM is imported only by the kinds that
use it, and only when they run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Calibration, Values, fit_platt
from reranker.feature_registry import FEATURE_NAMES, FEATURE_VERSION, FEATURES, GROUPS
from reranker.individual_model import IndividualModel
from reranker.linear_scorer import LinearScorer, fit_linear
from reranker.list_calibration import ListCalibration
from reranker.neighbour_rescoring import NeighbourRescoring
from reranker.pair_features import build
from reranker.scorers import Scorer
from reranker.tree_scorer import RankingRows, TreeScorer, fit_trees
from scarmatch.errors import ScarmatchError
from scarmatch.manifest import check_shipped
from scarmatch.sealed_json import read_sealed, write_sealed
from scarmatch.settings import Settings, SettingsError

Kind = Literal["logistic", "lambdamart", "blend"]
FORMAT = "scarmatch-ranker"
FORMAT_VERSION = 3
#: Versions that are read as they are: version 2 had one curve of calibration for all places of a list.
_READ_VERSIONS = (2, FORMAT_VERSION)
#: Names of a file's values.
_PARTS = (
    *("format", "version", "feature_version", "feature_names", "settings", "members", "calibration"),
    *("neighbour_rescoring", "individuals", "keypoint_kind", "descriptor", "metadata"),
)


#: Rows whose features are held at a time: two dozen numbers each, and as many in between.
_SCORED_AT_ONCE = 20_000


class RankerError(ScarmatchError, ValueError):
    """A ranker cannot be fitted, read or applied; the message names the file or the features."""


@dataclass(frozen=True)
class RankerSettings(Settings):
    """Options of :meth:`Ranker.fit`.

    Attributes:
        kind: "logistic", "lambdamart" or "blend".
        groups: feature groups to use (see :data:`reranker.feature_registry.GROUPS`); the others are ignored.
        monotone: hold features to their direction.
        seed: of every random choice.
        ridge: strength of the logistic regression's penalty on squared weights.
        n_trees: number of trees, the most where early stopping can end sooner.
        patience: trees without a better NDCG on held-out individuals before training stops; 0 never stops early.
        valid_share: share of the individuals held out for early stopping where the caller gives no validation rows.
        learning_rate, num_leaves, min_data_in_leaf, lambda_l2, feature_fraction, bagging_fraction, max_bin,
        min_gain_to_split: LightGBM's own; small trees and strong penalties, because labelled whales are few.
        truncation: only orders among the first places (and what could come there) matter: 20 places are shown.
    """

    kind: Kind = "blend"
    groups: tuple[str, ...] = GROUPS
    monotone: bool = True
    seed: int = 0
    ridge: float = 10.0
    n_trees: int = 400
    patience: int = 40
    valid_share: float = 0.2
    learning_rate: float = 0.05
    num_leaves: int = 7
    min_data_in_leaf: int = 40
    lambda_l2: float = 20.0
    feature_fraction: float = 0.6
    bagging_fraction: float = 0.8
    max_bin: int = 63
    min_gain_to_split: float = 0.0
    truncation: int = 20

    def __post_init__(self) -> None:
        if self.kind not in ("logistic", "lambdamart", "blend"):
            raise SettingsError(f"kind must be 'logistic', 'lambdamart' or 'blend', not {self.kind!r}")
        unknown = [name for name in self.groups if name not in GROUPS]
        if unknown or not self.groups:
            raise SettingsError(f"unknown feature group(s) {unknown}; the groups are {', '.join(GROUPS)}")

    def feature_names(self) -> tuple[str, ...]:
        """Return the names of the features in the chosen groups, in the registry's order."""
        return tuple(entry.name for entry in FEATURES if entry.group in self.groups)

    def tree_parameters(self) -> dict[str, Any]:
        """Return LightGBM's parameters."""
        same = ("learning_rate", "num_leaves", "min_data_in_leaf", "lambda_l2", "feature_fraction", "bagging_fraction")
        return {
            **{name: getattr(self, name) for name in (*same, "max_bin", "min_gain_to_split")},
            "bagging_freq": 1,
            "lambdarank_truncation_level": self.truncation,
            "eval_at": [self.truncation],
        }


@dataclass(frozen=True, eq=False)
class Member:
    """One fitted model and the line that brings its score to log-odds: ``slope * score + offset``."""

    scorer: Scorer
    slope: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Labelled pairs: features, labels, and the query and the query's individual of each row."""

    features: pd.DataFrame
    labels: npt.NDArray[np.bool_]
    queries: npt.NDArray[Any]
    individuals: npt.NDArray[Any] | None = None

    def take(self, mask: npt.NDArray[np.bool_]) -> LabelledRows:
        """Return the rows where ``mask`` is True."""
        return LabelledRows(
            self.features.loc[mask],
            self.labels[mask],
            self.queries[mask],
            None if self.individuals is None else self.individuals[mask],
        )


@dataclass(frozen=True, eq=False)
class Ranker:
    """A fitted ranker.

    Attributes:
        settings: how it was fitted.
        members: one model, or two for a blend.
        calibration: :meth:`score` and place in its list -> probability of the same individual.
        keypoint_kind: the kind of keypoints it was trained on ("aliked", ...); it is of no use with another.
        descriptor: fingerprint of the global descriptor it was trained on.
        metadata: plain JSON values: data, protocol, figures.
        rescoring: how a list's other candidates raise a score; None leaves scores as they are.
        individuals: what an individual's photographs say together; None where too few questions could teach it.
    """

    settings: RankerSettings
    members: tuple[Member, ...]
    calibration: ListCalibration = field(default_factory=ListCalibration)
    keypoint_kind: str = ""
    descriptor: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    rescoring: NeighbourRescoring | None = None
    individuals: IndividualModel | None = None

    @property
    def kind(self) -> Kind:
        """ "logistic", "lambdamart" or "blend"."""
        return self.settings.kind

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features it uses."""
        return self.members[0].scorer.names

    @classmethod
    def fit(
        cls,
        features: pd.DataFrame,
        labels: npt.ArrayLike,
        groups: npt.ArrayLike,
        individuals: npt.ArrayLike | None = None,
        settings: RankerSettings | None = None,
        valid: LabelledRows | None = None,
        calibrate: bool = True,
    ) -> Ranker:
        """Fit a ranker on labelled pairs.

        Without ``valid``, and if early stopping is asked for, a share of the individuals is held out of the trees for
        it (``individuals`` is needed then; otherwise all trees are grown). A blend brings its members to log-odds by
        Platt's curve on ``valid`` where it is given and on the training rows otherwise; so does the calibration. Scores
        of training rows flatter: :func:`reranker.training.train_ranker` replaces both by curves fitted out of fold.

        Args:
            features: as :func:`reranker.pair_features.build` returns them.
            labels: (rows,) True where both photographs show the same individual.
            groups: (rows,) query of each row.
            individuals: (rows,) individual of the query.
            valid: rows of other individuals.
            calibrate: False leaves the members' lines and the calibration as they are by default, for a caller who fits
                them out of fold.

        Raises:
            RankerError: lengths differ, feature names are not those of the registry, an individual of ``valid`` occurs
                in training, or the rows hold nothing to learn from.
        """
        settings = settings or RankerSettings()
        check_feature_names(features)
        rows = LabelledRows(
            features,
            np.asarray(labels).astype(bool),
            np.asarray(groups, dtype=str),
            None if individuals is None else np.asarray(individuals, dtype=str),
        )
        lengths = {
            len(part) for part in (rows.features, rows.labels, rows.queries, rows.individuals) if part is not None
        }
        if len(lengths) != 1:
            raise RankerError(f"features, labels, groups and individuals must have one length, not {sorted(lengths)}")
        if valid is not None:
            check_disjoint(rows.individuals, valid.individuals)
        try:
            scorers = _fit_scorers(rows, settings, valid)
        except ValueError as error:
            raise RankerError(f"cannot fit the {settings.kind} ranker: {error}") from error
        if not calibrate:
            return cls(settings, tuple(Member(scorer) for scorer in scorers))
        judge = valid if valid is not None and valid.labels.any() and not valid.labels.all() else rows
        members = []
        for scorer in scorers:
            line = fit_platt(scorer.predict(_array(judge.features, scorer.names)), judge.labels)
            members.append(Member(scorer, *(line if len(scorers) > 1 else (1.0, 0.0))))
        draft = cls(settings, tuple(members))
        slope, offset = fit_platt(draft.predict(judge.features), judge.labels)
        return dataclasses.replace(draft, calibration=ListCalibration(Calibration("platt", slope, offset)))

    def predict(self, features: pd.DataFrame) -> Values:
        """Return (rows,) float64 scores by each row's own features, larger is likelier.

        Raises:
            RankerError: the features are not those of the registry.
        """
        check_feature_names(features)
        parts = [m.slope * m.scorer.predict(_array(features, m.scorer.names)) + m.offset for m in self.members]
        return np.mean(parts, axis=0) if len(parts) > 1 else parts[0]

    def score(self, raw: pd.DataFrame) -> Values:
        """Return (rows,) float64 scores of whole lists, neighbour re-scoring included.

        Raises:
            PairTableError: the table of pairs cannot be used.
        """
        scores = np.empty(len(raw))
        for rows in _whole_lists(raw):
            lists = raw.iloc[rows]
            own = self.predict(build(lists))
            scores[rows] = own if self.rescoring is None else self.rescoring.rescored(lists, own)
        return scores

    def explain(self, features: pd.DataFrame) -> pd.DataFrame:
        """Return what each feature contributed: a column for each and "baseline"; a row's sum is what predict gives."""
        check_feature_names(features)
        total = np.zeros((len(features), len(self.feature_names) + 1))
        for member in self.members:
            part = member.slope * member.scorer.contributions(_array(features, member.scorer.names))
            part[:, -1] += member.offset
            total += part / len(self.members)
        return pd.DataFrame(total, index=features.index, columns=[*self.feature_names, "baseline"])

    def importance(self) -> pd.DataFrame:
        """Return each feature's share per member (gain of the trees, absolute weights of the logistic curve)."""
        shares = {type(m.scorer).__name__.removesuffix("Scorer").lower(): m.scorer.importance() for m in self.members}
        return pd.DataFrame(shares).sort_values(next(iter(shares)), ascending=False, kind="stable")

    def with_calibration(self, calibration: ListCalibration) -> Ranker:
        """Return a copy with another calibration."""
        return dataclasses.replace(self, calibration=calibration)

    def with_rescoring(self, rescoring: NeighbourRescoring | None) -> Ranker:
        """Return a copy whose scores are raised by a list's other candidates."""
        return dataclasses.replace(self, rescoring=rescoring)

    def with_individuals(self, individuals: IndividualModel | None) -> Ranker:
        """Return a copy with another model of individuals."""
        return dataclasses.replace(self, individuals=individuals)

    def with_origin(self, keypoint_kind: str, descriptor: str, metadata: Mapping[str, Any]) -> Ranker:
        """Return a copy that says what it was trained on."""
        return dataclasses.replace(
            self, keypoint_kind=keypoint_kind, descriptor=descriptor, metadata={**self.metadata, **metadata}
        )

    def save(self, path: Path | str) -> None:
        """Write the ranker as one JSON file."""
        data = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "feature_version": FEATURE_VERSION,
            "feature_names": list(self.feature_names),
            "settings": self.settings.to_dict(),
            "members": [{**m.scorer.to_dict(), "slope": m.slope, "offset_of_line": m.offset} for m in self.members],
            "calibration": self.calibration.to_dict(),
            "neighbour_rescoring": None if self.rescoring is None else self.rescoring.to_dict(),
            "individuals": None if self.individuals is None else self.individuals.to_dict(),
            "keypoint_kind": self.keypoint_kind,
            "descriptor": self.descriptor,
            "metadata": dict(self.metadata),
        }
        write_sealed(path, data)

    @classmethod
    def load(cls, path: Path | str) -> Ranker:
        """Read a ranker that :meth:`save` wrote.

        Raises:
            RankerError: the file is no ranker, is damaged, or was made for other features than this version computes.
            WeightsError: it ships with the program, and is not what was shipped.
        """
        check_shipped(path)
        try:
            data = read_sealed(path, _PARTS)
        except ValueError as error:
            raise RankerError(f"{path}: cannot be read as a ranker: {error}") from error
        # Files of version 1 knew other neighbours; where they asked none, nothing in them has changed its meaning.
        older = data.get("version") == 1 and data.get("neighbour_rescoring") is None
        if data.get("format") != FORMAT or not (older or data.get("version") in _READ_VERSIONS):
            raise RankerError(
                f"{path}: not a ranker of this version (format {FORMAT!r}, version {FORMAT_VERSION}): train it again"
            )
        named = data.get("feature_names")
        unknown = sorted({str(name) for name in named} - set(FEATURE_NAMES)) if isinstance(named, list) else ["no list"]
        if unknown or data.get("feature_version") != FEATURE_VERSION:
            raise RankerError(
                f"{path}: trained on features of version {data.get('feature_version')}, this program computes version"
                f" {FEATURE_VERSION}; unknown features: {', '.join(unknown) or 'none'}. Train it again."
            )
        try:
            members = tuple(_read_member(part) for part in data["members"])
            if any(list(m.scorer.names) != data["feature_names"] for m in members) or not members:
                raise ValueError("the models' feature names are not those of the file")
            rescoring, individuals = data["neighbour_rescoring"], data.get("individuals")
            return cls(
                RankerSettings.from_dict(data["settings"]),
                members,
                ListCalibration.from_dict(data["calibration"]),
                str(data["keypoint_kind"]),
                str(data["descriptor"]),
                dict(data["metadata"]),
                None if rescoring is None else NeighbourRescoring.from_dict(rescoring),
                None if individuals is None else IndividualModel.from_dict(individuals),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, SettingsError) as error:
            raise RankerError(f"{path}: damaged ranker: {error}") from error


def check_feature_names(features: pd.DataFrame) -> None:
    """Refuse a feature table whose columns are not exactly those of the registry (in any order).

    Raises:
        RankerError: names the missing and the unknown columns.
    """
    missing = [name for name in FEATURE_NAMES if name not in features.columns]
    unknown = [str(name) for name in features.columns if name not in FEATURE_NAMES]
    if missing or unknown or features.columns.has_duplicates:
        raise RankerError(
            f"the feature table does not fit this ranker: missing {', '.join(missing) or 'none'};"
            f" unknown {', '.join(unknown) or 'none'}; make it with reranker.pair_features.build"
        )


def check_disjoint(train: npt.NDArray[Any] | None, held_out: npt.NDArray[Any] | None) -> None:
    """Raise RankerError if an individual stands on both sides of a split (or if the sides are unknown)."""
    if train is None or held_out is None:
        raise RankerError("a validation set needs the individual of every row, on both sides")
    both = sorted(set(np.asarray(train, dtype=str)) & set(np.asarray(held_out, dtype=str)))
    if both:
        raise RankerError(f"{len(both)} individual(s) stand on both sides of the split, e.g. {both[0]}")


def _fit_scorers(rows: LabelledRows, settings: RankerSettings, valid: LabelledRows | None) -> list[Scorer]:
    names = settings.feature_names()
    scorers: list[Scorer] = []
    if settings.kind in ("lambdamart", "blend"):
        train = rows
        if valid is None and settings.patience > 0 and rows.individuals is not None:
            held_out = _hold_out(rows.individuals, settings)
            train, valid = rows.take(~held_out), rows.take(held_out)
        scorers.append(
            fit_trees(
                _ranking_rows(train, names),
                names,
                settings.tree_parameters(),
                settings.n_trees,
                settings.seed,
                None if valid is None else _ranking_rows(valid, names),
                settings.patience,
                settings.monotone,
            )
        )
    if settings.kind in ("logistic", "blend"):
        array = _array(rows.features, names)
        scorers.append(fit_linear(array, rows.labels, names, settings.ridge, settings.monotone))
    return scorers


def _hold_out(individuals: npt.NDArray[Any], settings: RankerSettings) -> npt.NDArray[np.bool_]:
    names = np.unique(individuals)
    count = round(settings.valid_share * len(names))
    chosen = np.random.default_rng(settings.seed).permutation(names)[:count]
    return np.isin(individuals, chosen)


def _ranking_rows(rows: LabelledRows, names: tuple[str, ...]) -> RankingRows:
    return RankingRows(_array(rows.features, names), rows.labels, rows.queries)


def _array(features: pd.DataFrame, names: tuple[str, ...]) -> npt.NDArray[np.floating]:
    return features[list(names)].to_numpy(dtype=np.float32)


def _read_member(data: Mapping[str, Any]) -> Member:
    scorer: Scorer = TreeScorer.from_dict(data) if data["type"] == "tree" else LinearScorer.from_dict(data)
    return Member(scorer, float(data["slope"]), float(data["offset_of_line"]))


def _whole_lists(raw: pd.DataFrame) -> Iterator[npt.NDArray[np.int64]]:
    """Give the rows of a table of pairs in parts that hold whole lists, of which no list knows another."""
    # What has no name is a list too: whoever scores it says what is wrong.
    lists = pd.factorize(raw["query_id"], use_na_sentinel=False)[0] if "query_id" in raw else np.zeros(len(raw), int)
    part = (np.cumsum(np.bincount(lists))[lists] - 1) // _SCORED_AT_ONCE
    for number in np.unique(part):
        yield np.flatnonzero(part == number)
