"""The features of the ranker, each named once: what it is made of, how, its unit and its meaning.

A feature is a quantity of a pair (a column of the raw pair table, or one that :data:`reranker.pair_features.QUANTITIES`
makes of several columns) as it is or through one derivation; its name follows from the two.

Never features: time of day, encounter and individual, because a question about a new photograph does not know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scarmatch.vocabulary import MODEL_KINDS

Group = Literal["global", "requery", "mutual_nn", "correlation", "lightglue", "skin", "metadata"]
#: The kinds of evidence (the units of an ablation).
GROUPS: tuple[Group, ...] = ("global", "requery", "mutual_nn", "correlation", "lightglue", "skin", "metadata")

#: How a quantity becomes a feature: as it is, ln(1 + it), or beside the others of the query's list: in standard
#: deviations above their mean, logarithm of the rank, their mean, minus the best, minus the next lower.
Derivation = Literal["plain", "log1p", "zscore", "log_rank", "list_mean", "to_best", "to_next"]

#: Raised whenever a feature changes its meaning or its name; a saved ranker of another version is refused.
FEATURE_VERSION = 7

VIEWPOINT_PAIRS = ("unknown", "top_top", "same_side", "left_right", "lateral_top", "same_other", "different")


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes:
        source: the quantity that it is made of.
        derivation: how.
        unit: unit of the values, "1" for a pure number, "code" for an index into ``categories``.
        group: the kind of evidence it belongs to.
        meaning: one plain sentence.
        monotone: 1 if more of it can only speak for, -1 if it can only speak against the same individual, 0 if open.
        categories: names of the codes 0, 1, ... of an unordered category; empty for a number.
    """

    source: str
    derivation: Derivation
    unit: str
    group: Group
    meaning: str
    monotone: Literal[-1, 0, 1] = 0
    categories: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Column name."""
        return self.source if self.derivation == "plain" else f"{self.source}_{self.derivation}"


def _correlation(scale: str) -> tuple[Feature, ...]:
    """Return the features of the correlation of two skins at one scale of their structure."""
    mean, agreeing = f"mutual_nn_correlation_{scale}", f"mutual_nn_agreeing_{scale}"
    best = f"mean over blocks of skin of their best correlation under the keypoints' placement, {scale} structure"
    above = "in standard deviations above its list's mean"
    return (
        Feature(mean, "plain", "1", "correlation", best, 1),
        Feature(mean, "zscore", "sd", "correlation", f"that mean {above}, {scale} structure", 1),
        Feature(agreeing, "log1p", "ln", "correlation", f"ln(1 + blocks of skin that agree), {scale} structure", 1),
        Feature(agreeing, "zscore", "sd", "correlation", f"blocks of skin that agree {above}, {scale} structure", 1),
        Feature(
            f"mutual_nn_drift_{scale}",
            "plain",
            "picture heights",
            "correlation",
            f"how far the blocks' best shifts differ from each other, {scale} structure",
        ),
    )


FEATURES: tuple[Feature, ...] = (
    Feature("cosine", "plain", "1", "global", "cosine similarity of the two global descriptors", 1),
    Feature(
        "cosine", "log_rank", "ln", "global", "logarithm of the candidate's rank by cosine in its list (0 = best)", -1
    ),
    Feature("cosine", "to_best", "1", "global", "cosine minus the best cosine of the list", 1),
    Feature(
        "cosine", "to_next", "1", "global", "cosine minus the next lower cosine of the list (unknown for the lowest)", 1
    ),
    Feature("cosine", "zscore", "sd", "global", "cosine in standard deviations above its list's mean", 1),
    Feature(
        "cosine_znorm",
        "plain",
        "sd",
        "global",
        "cosine in standard deviations above the whole catalogue's mean",
        1,
    ),
    Feature(
        "requery_score", "plain", "1", "requery", "similarity after asking again through the query's best candidates", 1
    ),
    Feature("requery_score", "log_rank", "ln", "requery", "logarithm of the rank by re-query score in the list", -1),
    Feature(
        "local_score",
        "plain",
        "matches",
        "mutual_nn",
        "unverified mutual nearest neighbours of the best keypoints, each counted (1 - its ratio)^2",
        1,
    ),
    Feature(
        "local_znorm",
        "plain",
        "sd",
        "mutual_nn",
        "that score in standard deviations above the whole catalogue's mean",
        1,
    ),
    Feature("mutual_nn_matches", "log1p", "ln", "mutual_nn", "ln(1 + mutual nearest neighbours)", 1),
    Feature(
        "mutual_nn_similarity", "plain", "1", "mutual_nn", "mean cosine of the descriptors of mutual nearest neighbours"
    ),
    Feature(
        "mutual_nn_confidence_sum",
        "plain",
        "matches",
        "mutual_nn",
        "mutual nearest neighbours, each counted 1 - its ratio (distance to the nearest / to the next)",
        1,
    ),
    Feature(
        "mutual_nn_agreement",
        "plain",
        "ln",
        "mutual_nn",
        "ln(1 + inliers among mutual nearest neighbours x plausibility)",
        1,
    ),
    Feature(
        "mutual_nn_inlier_ratio",
        "plain",
        "1",
        "mutual_nn",
        "share of the mutual nearest neighbours that are inliers",
        1,
    ),
    Feature(
        "mutual_nn_inlier_confidence_sum",
        "plain",
        "matches",
        "mutual_nn",
        "their inliers, each counted 1 - its ratio",
        1,
    ),
    Feature("mutual_nn_residual", "plain", "body lengths", "mutual_nn", "median transfer error of the inliers"),
    Feature(
        "mutual_nn_spread_along",
        "plain",
        "body lengths",
        "mutual_nn",
        "standard deviation of the inliers along the body",
    ),
    Feature(
        "mutual_nn_position_gap",
        "plain",
        "body lengths",
        "mutual_nn",
        "median disagreement of the inliers' position along the body",
        -1,
    ),
    Feature(
        "mutual_nn_mark_share",
        "plain",
        "1",
        "mutual_nn",
        "share of inliers that lie in mark regions in both photographs",
    ),
    Feature(
        "mutual_nn_distinctive_matches",
        "log1p",
        "ln",
        "mutual_nn",
        "ln(1 + distinctive ones: those that pass the ratio test)",
        1,
    ),
    Feature(
        "mutual_nn_distinctive_agreement",
        "plain",
        "ln",
        "mutual_nn",
        "ln(1 + inliers x plausibility) of the distinctive ones alone",
        1,
    ),
    Feature(
        "mutual_nn_distinctive_inlier_ratio",
        "plain",
        "1",
        "mutual_nn",
        "share of the distinctive ones that are inliers",
        1,
    ),
    Feature(
        "mutual_nn_distinctive_inlier_confidence_sum",
        "plain",
        "matches",
        "mutual_nn",
        "the distinctive inliers, each counted 1 - its ratio",
        1,
    ),
    Feature(
        "mutual_nn_distinctive_position_gap",
        "plain",
        "body lengths",
        "mutual_nn",
        "disagreement of the distinctive inliers' position along the body",
        -1,
    ),
    Feature(
        "mutual_nn_agreement", "zscore", "sd", "mutual_nn", "agreement in standard deviations above its list's mean", 1
    ),
    Feature("mutual_nn_agreement", "log_rank", "ln", "mutual_nn", "logarithm of the rank by agreement in the list", -1),
    Feature("mutual_nn_distinctive_agreement", "zscore", "sd", "mutual_nn", "the same of the distinctive ones", 1),
    Feature("mutual_nn_distinctive_agreement", "log_rank", "ln", "mutual_nn", "the same of the distinctive ones", -1),
    Feature(
        "mutual_nn_agreement",
        "list_mean",
        "ln",
        "mutual_nn",
        "mean agreement of the list: how easily the query's keypoints fall into line",
    ),
    Feature(
        "mutual_nn_overlap",
        "plain",
        "1",
        "correlation",
        "share of the query's skin that falls on the candidate's by the keypoints' placement",
    ),
    Feature("mutual_nn_blocks", "log1p", "ln", "correlation", "ln(1 + blocks of skin that both then show)"),
    *_correlation("coarse"),
    *_correlation("middle"),
    *_correlation("fine"),
    Feature("lightglue_matches", "log1p", "ln", "lightglue", "ln(1 + tentative matches)", 1),
    Feature("lightglue_matches_50", "log1p", "ln", "lightglue", "ln(1 + matches of confidence above 0.5)", 1),
    Feature("lightglue_matches_80", "log1p", "ln", "lightglue", "ln(1 + matches of confidence above 0.8)", 1),
    Feature("lightglue_confidence_sum", "plain", "matches", "lightglue", "sum of the matches' confidences", 1),
    Feature(
        "lightglue_confidence_mean", "plain", "1", "lightglue", "mean confidence of a match (unknown without matches)"
    ),
    Feature("lightglue_similarity", "plain", "1", "lightglue", "the matcher's own similarity of the pair", 1),
    Feature(
        "lightglue_matches_per_keypoint",
        "plain",
        "1",
        "lightglue",
        "matches of confidence above 0.5 per keypoint of the poorer photograph",
        1,
    ),
    Feature(
        "lightglue_confidence_per_keypoint",
        "plain",
        "1",
        "lightglue",
        "sum of confidences per keypoint of the poorer photograph",
        1,
    ),
    Feature("lightglue_keypoints_min", "log1p", "ln", "lightglue", "ln(1 + keypoints of the poorer photograph)"),
    Feature(
        "lightglue_confidence_sum",
        "zscore",
        "sd",
        "lightglue",
        "sum of confidences in standard deviations above its list's mean",
        1,
    ),
    Feature(
        "lightglue_confidence_sum",
        "log_rank",
        "ln",
        "lightglue",
        "logarithm of the rank by sum of confidences in the list",
        -1,
    ),
    Feature("lightglue_model_found", "plain", "0/1", "lightglue", "whether any geometric model was found", 1),
    Feature("lightglue_model_kind", "plain", "code", "lightglue", "kind of the geometric model", 0, MODEL_KINDS),
    Feature("lightglue_inliers", "log1p", "ln", "lightglue", "ln(1 + inliers of the geometric model)", 1),
    Feature(
        "lightglue_agreement",
        "plain",
        "ln",
        "lightglue",
        "ln(1 + inliers x plausibility): agreement of two head-up crops",
        1,
    ),
    Feature("lightglue_inlier_ratio", "plain", "1", "lightglue", "inliers per tentative match", 1),
    Feature("lightglue_inlier_confidence_sum", "plain", "matches", "lightglue", "sum of the inliers' confidences", 1),
    Feature("lightglue_residual", "plain", "body lengths", "lightglue", "median transfer error of the inliers"),
    Feature(
        "lightglue_spread_along",
        "plain",
        "body lengths",
        "lightglue",
        "standard deviation of the inliers along the body",
        1,
    ),
    Feature(
        "lightglue_spread_across",
        "plain",
        "body lengths",
        "lightglue",
        "standard deviation of the inliers across the body",
        1,
    ),
    Feature(
        "lightglue_absolute_log_scale",
        "plain",
        "ln",
        "lightglue",
        "size of the logarithm of the model's relative scale (0 = same extent)",
    ),
    Feature(
        "lightglue_absolute_rotation",
        "plain",
        "degrees",
        "lightglue",
        "size of the model's rotation between the two head-up photographs",
    ),
    Feature("lightglue_shear", "plain", "1", "lightglue", "departure of the model from a similarity"),
    Feature(
        "lightglue_position_gap",
        "plain",
        "body lengths",
        "lightglue",
        "median disagreement of position along the body",
        -1,
    ),
    Feature(
        "lightglue_plausibility",
        "plain",
        "1",
        "lightglue",
        "how well scale, rotation and shear fit two head-up crops",
        1,
    ),
    Feature("lightglue_model_score", "plain", "1", "lightglue", "the estimator's own quality of the model", 1),
    Feature(
        "lightglue_inliers", "zscore", "sd", "lightglue", "inliers in standard deviations above their list's mean", 1
    ),
    Feature("lightglue_inliers", "log_rank", "ln", "lightglue", "logarithm of the rank by inliers in the list", -1),
    Feature(
        "lightglue_mark_share", "plain", "1", "skin", "share of inliers that lie in mark regions in both photographs"
    ),
    Feature("skin_matches", "log1p", "ln", "skin", "ln(1 + places of alike skin, each other's nearest)", 1),
    Feature("skin_similarity", "plain", "1", "skin", "mean cosine of the skin of these places"),
    Feature("skin_inliers", "log1p", "ln", "skin", "ln(1 + places of alike skin that one placement explains)", 1),
    Feature("skin_agreement", "plain", "ln", "skin", "ln(1 + those places x how plausible the placement is)", 1),
    Feature(
        "skin_inlier_ratio", "plain", "1", "skin", "share of the places of alike skin that the placement explains", 1
    ),
    Feature(
        "skin_inliers_per_keypoint", "plain", "1", "skin", "explained places per place of the poorer photograph", 1
    ),
    Feature("skin_residual", "plain", "body lengths", "skin", "median transfer error of the explained places"),
    Feature(
        "skin_spread_along",
        "plain",
        "body lengths",
        "skin",
        "standard deviation of the explained places along the body",
    ),
    Feature("skin_position_gap", "plain", "body lengths", "skin", "median disagreement of position along the body", -1),
    Feature("skin_plausibility", "plain", "1", "skin", "how well the placement fits two head-up crops", 1),
    Feature(
        "skin_aligned_similarity",
        "plain",
        "1",
        "skin",
        "mean cosine of the skin once one animal is laid on the other",
        1,
    ),
    Feature("skin_overlap", "plain", "1", "skin", "share of the query's skin that then falls on the candidate's"),
    Feature(
        "skin_flank_best",
        "plain",
        "1",
        "skin",
        "the same mean over the flank that is more alike (the sun lights one only)",
        1,
    ),
    Feature("skin_flank_other", "plain", "1", "skin", "the same mean over the other flank", 1),
    Feature("skin_flank_inliers_min", "log1p", "ln", "skin", "ln(1 + explained places of the flank that has fewer)", 1),
    Feature("skin_keypoints_min", "log1p", "ln", "skin", "ln(1 + places of the poorer photograph)"),
    Feature(
        "skin_agreement",
        "zscore",
        "sd",
        "skin",
        "plausible explained places in standard deviations above their list's mean",
        1,
    ),
    Feature(
        "skin_agreement",
        "log_rank",
        "ln",
        "skin",
        "logarithm of the rank by plausible explained places in the list",
        -1,
    ),
    Feature(
        "skin_agreement",
        "list_mean",
        "ln",
        "skin",
        "mean ln(1 + plausible explained places) of the list: how common the query's marks are",
    ),
    Feature(
        "skin_aligned_similarity",
        "zscore",
        "sd",
        "skin",
        "aligned cosine in standard deviations above its list's mean",
        1,
    ),
    Feature("date_gap_days", "log1p", "ln", "metadata", "ln(1 + days between the photographs)"),
    Feature("same_day", "plain", "0/1", "metadata", "whether both were taken on the same day"),
    Feature(
        "own_encounter_allowed",
        "plain",
        "0/1",
        "metadata",
        "whether photographs of the query's own encounter may be in its list",
    ),
    Feature(
        "season_gap",
        "plain",
        "days",
        "metadata",
        "days between the two days of the year, around the year's end (0..183)",
    ),
    Feature("years_apart", "plain", "years", "metadata", "difference of the two calendar years"),
    Feature("viewpoint_pair", "plain", "code", "metadata", "the two viewpoints, in either order", 0, VIEWPOINT_PAIRS),
    Feature("log_length0", "plain", "ln px", "metadata", "logarithm of the query's longer side"),
    Feature("log_length1", "plain", "ln px", "metadata", "logarithm of the candidate's longer side"),
    Feature("log_length_ratio", "plain", "ln", "metadata", "size of the logarithm of the two lengths' ratio"),
    Feature("log_length_min", "plain", "ln px", "metadata", "logarithm of the shorter of the two lengths"),
    Feature("body_share0", "plain", "1", "metadata", "share of the query's pixels that show the body"),
    Feature("body_share1", "plain", "1", "metadata", "share of the candidate's pixels that show the body"),
    Feature("sharpness_min", "plain", "1", "metadata", "sharpness of the less sharp photograph"),
    Feature("sharpness_log_ratio", "plain", "ln", "metadata", "size of the logarithm of the two sharpnesses' ratio"),
)
FEATURE_NAMES: tuple[str, ...] = tuple(entry.name for entry in FEATURES)


def feature(name: str) -> Feature:
    """Return the registry's entry of that name; KeyError if there is none."""
    for entry in FEATURES:
        if entry.name == name:
            return entry
    raise KeyError(f"no feature is called {name!r}")
