"""What is in a catalogue, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class CatalogSummary:
    """What is in a catalogue, in numbers.

    Attributes:
        photographs, individuals, encounters: counts (of the known ones).
        unlabelled: photographs without an individual.
        first_date, last_date: ISO dates, None where no date is known.
        undated: photographs without a date.
        viewpoints: viewpoint -> photographs; "unknown" for those without one.
        species: species -> photographs (empty where none is known).
        per_individual: photographs per individual: min, 25 %, median, 75 %, max (empty without labels).
        single: individuals with one photograph only.
    """

    photographs: int
    individuals: int
    encounters: int
    unlabelled: int
    first_date: str | None
    last_date: str | None
    undated: int
    viewpoints: dict[str, int]
    species: dict[str, int]
    per_individual: dict[str, float]
    single: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return dict(self.__dict__)

    def __str__(self) -> str:
        lines = [
            f"{self.photographs:,} photographs, {self.individuals:,} individuals, {self.encounters:,} encounters",
        ]
        if self.unlabelled:
            lines.append(f"{self.unlabelled:,} photographs without an individual")
        span = f"{self.first_date} to {self.last_date}" if self.first_date else "none known"
        lines.append(f"dates: {span}" + (f" ({self.undated:,} undated)" if self.undated and self.first_date else ""))
        lines.append("viewpoints: " + ", ".join(f"{view} {count:,}" for view, count in self.viewpoints.items()))
        if self.species:
            lines.append("species: " + ", ".join(f"{name} {count:,}" for name, count in self.species.items()))
        if self.per_individual:
            spread = ", ".join(f"{name} {value:g}" for name, value in self.per_individual.items())
            lines.append(f"photographs per individual: {spread} ({self.single:,} individuals with one only)")
        return "\n".join(lines)


def summary_of(table: pd.DataFrame) -> CatalogSummary:
    """Count what is in a catalogue's table."""
    counts = table["individual_id"].dropna().value_counts()
    quantiles = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}
    dates = table["date"].dropna()
    views = table["viewpoint"].fillna("unknown").value_counts()
    return CatalogSummary(
        photographs=len(table),
        individuals=len(counts),
        encounters=int(table["encounter_id"].nunique()),
        unlabelled=int(table["individual_id"].isna().sum()),
        first_date=None if dates.empty else dates.min().date().isoformat(),
        last_date=None if dates.empty else dates.max().date().isoformat(),
        undated=int(table["date"].isna().sum()),
        viewpoints={str(view): int(count) for view, count in views.items()},
        species={str(name): int(count) for name, count in table["species"].dropna().value_counts().items()},
        per_individual={k: float(counts.quantile(q)) for k, q in quantiles.items()} if len(counts) else {},
        single=int((counts == 1).sum()),
    )
