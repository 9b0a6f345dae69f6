"""One run's series as a chart draws it: a value per column of dots, smoothed where it is noisy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workbench.run_view.series import Bucket, StepSeries

_KEPT = 0.75
"""Weight of what came before in the smoothed curve, at each column that has a value."""
Values = list[float | None]
"""One per column; None where it has no step, not a number where all of its steps were lost."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A run on a chart."""

    steps: StepSeries
    ink: str = "accent"
    letter: str = ""
    """What the run is called beside others."""


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """A series over the columns of a window."""

    buckets: Sequence[Bucket | None]

    @property
    def values(self) -> Values:
        """The mean of each column."""
        return [bucket.mean if bucket else None for bucket in self.buckets]

    @property
    def smoothed(self) -> Values:
        """Means that forget what came before by and by, corrected for their beginning."""
        total = weight = 0.0
        values: Values = []
        for value in self.values:
            if value is not None and value == value:
                total, weight = _KEPT * total + (1 - _KEPT) * value, _KEPT * weight + 1 - _KEPT
                value = total / weight
            values.append(value)
        return values

    @property
    def limits(self) -> tuple[float, float] | None:
        """Least and greatest value; None where there is no finite one."""
        known = [bucket for bucket in self.buckets if bucket and bucket.count]
        if not known:
            return None
        return min(bucket.least for bucket in known), max(bucket.greatest for bucket in known)

    @property
    def lows(self) -> Values:
        """The least value of each column."""
        return [bucket.least if bucket and bucket.count else None for bucket in self.buckets]

    @property
    def highs(self) -> Values:
        """The greatest value of each column."""
        return [bucket.greatest if bucket and bucket.count else None for bucket in self.buckets]

    @property
    def lost(self) -> set[int]:
        """Columns in which a value was lost."""
        return {x for x, bucket in enumerate(self.buckets) if bucket and bucket.num_lost}

    def mapped(self, by: Callable[[float], float]) -> Values:
        """Something that follows from the mean of each column."""
        return [value if value is None or value != value else by(value) for value in self.values]
