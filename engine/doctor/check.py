"""A check of the install: an error that is measured, and the most of it that passes."""

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.doctor.specimens import Specimens
from engine.sessions.doctor_report import Finding


class Measurement(NamedTuple):
    """An error, and what there is to say about it where it is too large, or else."""

    figure: float
    complaint: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Gives a finding; the advice is for those on whose install it fails."""

    name: str
    limit: float
    advice: str
    is_fast: bool
    measure: Callable[[Specimens], Measurement]

    def __call__(self, specimens: Specimens) -> Finding:
        """Measure; a check that breaks has failed, as other versions may lack what it needs."""
        try:
            figure, complaint, remark = self.measure(specimens)
        except Exception as error:
            traceback.print_exc()
            figure, remark = math.nan, ""
            complaint = f"It could not be measured: {type(error).__name__}: {error}"
        has_passed = figure <= self.limit
        advice = remark if has_passed else ". ".join(filter(None, (complaint, self.advice)))
        shown = figure if math.isfinite(figure) else None
        return Finding(self.name, has_passed, shown, self.limit, advice)


def check(
    name: str, *, limit: float, advice: str, is_fast: bool = False
) -> Callable[[Callable[[Specimens], Measurement]], Check]:
    """Make a check of a function that measures; fast ones are run before a training run."""
    return lambda measure: Check(name, limit, advice, is_fast, measure)
