"""What programs send and get: the interface's records, checked on the way in and told of in its description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "same",
    "different",
    "cannot_tell",
    "not_comparable",
    "new_individual",
    "split",
    "move",
    "merge",
    "rename",
    "skip",
    "undo",
]


class DecisionIn(BaseModel):
    """A decision to be made; see the fields of `engine.review.decisions.Decision`."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    images: list[str] = Field(default=[], max_length=5000, description="photographs; of a pair, the query first")
    name: str = Field(default="", description="name given")
    individual: str = Field(default="", description="individual that is split, merged or renamed")
    target: int = Field(default=0, description="number of the decision that an undo takes back")
    confidence: Literal["", "guessing", "fairly sure", "certain"] = ""
    who: str = Field(default="", max_length=100, description="the reviewer; the session's name if empty")
    key: str = Field(default="", max_length=100, description="asking twice with one key decides once")
    shown: dict[str, Any] = Field(default={}, description="what was on the screen")


class DecisionOut(BaseModel):
    """A decision as it is in the table."""

    number: int
    at: str
    who: str
    kind: str
    images: list[str]
    name: str
    individual: str
    target: int
    confidence: str
    probability: float | None
    shown: dict[str, Any]
    version: str
    counts: bool = Field(description="False if it was taken back")


class PhotographOut(BaseModel):
    """A photograph among an answer."""

    image: str
    probability: float
    date: str
    viewpoint: str
    picture: str = Field(description="address of its picture")


class CandidateOut(BaseModel):
    """An individual, or a group of photographs without a name, that a question may be."""

    name: str | None
    probability: float
    said: str = Field(description="what put it aside, if anything")
    photographs: list[PhotographOut]


class QuestionOut(BaseModel):
    """A question and how it stands."""

    key: str
    images: list[str]
    status: str
    name: str = Field(description="who it is, if that is decided")
    date: str
    viewpoint: str
    new_individual: float = Field(description="probability that it is nobody of the catalogue")
    candidates: list[CandidateOut]
    rejected: list[str]
    linked: list[str]


class QueueOut(BaseModel):
    """Part of the queue."""

    total: int
    counts: dict[str, dict[str, int]]
    questions: list[QuestionOut]


class DecidedOut(BaseModel):
    """What became of decisions."""

    decisions: list[DecisionOut]
    next: str | None = Field(description="the question to look at next, if one was named")


class ContradictionOut(BaseModel):
    """Decisions that cannot all be true."""

    kind: str
    images: list[str]
    decisions: list[int]
    names: list[str]


class PreviewOut(BaseModel):
    """What a decision would change."""

    renamed: list[tuple[str, str | None, str | None]]
    contradictions: list[ContradictionOut]
    resolved: list[ContradictionOut]
    retired: list[int]


class ProgressOut(BaseModel):
    """How far the review and the matching are."""

    counts: dict[str, int]
    contradictions: int
    last: int = Field(description="number of the last decision")
    stage: str
    done: int
    total: int
    problem: str


class SessionOut(BaseModel):
    """The session that asks."""

    who: str
    token: str
    header: str


class UploadOut(BaseModel):
    """What became of an upload."""

    image: str
    question: str


class ExportWishes(BaseModel):
    """What an export is to hold; each form reads what concerns it."""

    model_config = ConfigDict(extra="forbid")

    occasions: Literal["day", "week", "month", "year", "breaks"] = Field(
        default="year", description="what a capture occasion is"
    )
    breaks: str = Field(
        default="", max_length=10_000, description="first days of own occasions and the end, between commas"
    )
    sides: list[str] = Field(default=[], max_length=100, description="viewpoints that count as captures; all if none")
    empty_occasions: bool = Field(default=False, description="keep occasions in which no photograph was taken")
    min_certainty: Literal["guessing", "fairly sure", "certain"] = Field(
        default="guessing", description="names that rest on less certain decisions are left out"
    )
    location: str = Field(default="", max_length=200, description="Wildbook's location id of all encounters")
    species: str = Field(default="", max_length=200, description="genus and epithet where the catalogue has none")
    submitter: str = Field(default="", max_length=200, description="user name in Wildbook")
    sheet: Literal["xlsx", "csv"] = Field(default="xlsx", description="kind of Wildbook's sheets")


class OccasionOut(BaseModel):
    """One capture occasion."""

    name: str
    first_day: str
    last_day: str
    individuals: int = Field(description="that were captured")
    photographs: int = Field(description="of the sides that count, those without a name too")


class HistoryOut(BaseModel):
    """One individual's capture history."""

    name: str
    history: str = Field(description="1 for each occasion on which it was captured, 0 for others")
    photographs: int
    first_seen: str
    last_seen: str


class CaptureHistoriesOut(BaseModel):
    """Who was captured when."""

    occasions: list[OccasionOut]
    individuals: list[HistoryOut]
    notes: list[str] = Field(description="what does not count, and why")


class NamesOut(BaseModel):
    """What a table of names amounts to."""

    changes: list[str] = Field(description="the decisions, in words")
    notes: list[str] = Field(description="what was left out, and why")
    decided: bool = Field(description="False if it was only looked at")
