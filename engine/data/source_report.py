"""What became of the rows of each source, in figures that can be shown."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from engine.problems import Refusal


@dataclass(slots=True)
class SourceReport:
    """One source's rows: asked for, taken, dropped and noted by reason, and how long they are."""

    name: str
    format: str
    asked: int
    """Rows the recipe asks for; those the source has where it asks for all."""
    taken: int = 0
    seen: int = 0
    """Rows of one epoch, by the source's weight."""
    dropped: Counter[str] = field(default_factory=Counter)
    first_dropped: dict[str, str] = field(default_factory=dict)
    """Where the first row of each reason stands."""
    noted: Counter[str] = field(default_factory=Counter)
    """Rows that stay but are worth a look, by reason."""
    first_noted: dict[str, str] = field(default_factory=dict)
    p50: int = 0
    p95: int = 0
    longest: int = 0
    """Tokens before truncation."""
    truncated_share: float = 0.0
    """Of the rows taken."""
    supervised_share: float = 0.0
    """Of the tokens of the rows taken, after truncation."""
    histogram: list[list[int]] = field(default_factory=list)
    """[most tokens, rows] of each bin of lengths before truncation."""

    def drop(self, reason: str, where: str) -> None:
        """Count a row that is left out."""
        self.dropped[reason] += 1
        self.first_dropped.setdefault(reason, where)

    def note(self, reason: str, where: str) -> None:
        """Count a row that stays."""
        self.noted[reason] += 1
        self.first_noted.setdefault(reason, where)

    def report(self) -> dict[str, Any]:
        """The account as it stands in plan.json and in a preview."""
        return {
            "name": self.name,
            "format": self.format,
            "asked": self.asked,
            "taken": self.taken,
            "seen_per_epoch": self.seen,
            "dropped": dict(self.dropped),
            "first_dropped": self.first_dropped,
            "noted": dict(self.noted),
            "first_noted": self.first_noted,
            "tokens": {"p50": self.p50, "p95": self.p95, "max": self.longest},
            "truncated_share": round(self.truncated_share, 4),
            "supervised_share": round(self.supervised_share, 4),
            "histogram": self.histogram,
        }


def account(report: dict[str, Any]) -> SourceReport:
    """The account a report was made from."""
    tokens = report["tokens"]
    return SourceReport(
        report["name"], report["format"], report["asked"], report["taken"],
        report["seen_per_epoch"], Counter(report["dropped"]), report["first_dropped"],
        Counter(report["noted"]), report["first_noted"], tokens["p50"], tokens["p95"],
        tokens["max"], report["truncated_share"], report["supervised_share"],
        report["histogram"],
    )  # fmt: skip


def refusal_of_drops(accounts: list[SourceReport], reason: str, fix: str) -> Refusal:
    """A refusal that names every reason with its count and first place."""
    reasons = ", ".join(
        f"{count} x {why} (first: {one.first_dropped[why]})"
        for one in accounts
        for why, count in one.dropped.items()
    )
    return Refusal.of("data.sources", f"{reason}: {reasons or 'the sources hold no rows'}", fix)
