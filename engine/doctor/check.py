"""A check of the install: an error that is measured, and the most of it that passes."""

import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.doctor.specimens import Specimens
from engine.sessions.doctor_report import Finding

AFTERWARDS = "What other checks find may follow from it"
"""All there is to say beside a complaint that says what to do."""


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
    is_golden: bool = False
    """Whether it compares with what is known to be right, and so shows causes."""

    def __call__(self, specimens: Specimens) -> Finding:
        """Measure, and say what follows."""
        return self.finding(self.measured(specimens))

    def measured(self, specimens: Specimens) -> Measurement:
        """Measure; a check that breaks has failed, as other versions may lack what it needs."""
        try:
            return self.measure(specimens)
        except Exception as error:
            traceback.print_exc()
            text = f"It could not be measured: {type(error).__name__}: {error}"
            return Measurement(math.nan, text)

    def finding(self, measurement: Measurement, cause: str = "") -> Finding:
        """Where golden figures have shown a cause already, a failure is put down to that."""
        figure, complaint, remark = measurement
        has_passed = figure <= self.limit
        if cause and self.is_golden:
            complaint = ""  # which would be of what the first of these checks has explained
        advice = ". ".join(filter(None, (complaint, cause or self.advice)))
        shown = figure if math.isfinite(figure) else None
        return Finding(self.name, has_passed, shown, self.limit, remark if has_passed else advice)

    def cause(self, finding: Finding) -> str:
        """What a finding of golden figures says about those of the checks after it, if anything."""
        is_cause = self.is_golden and not finding.passed
        return finding.advice.removesuffix(f". {AFTERWARDS}") if is_cause else ""


def check(
    name: str, *, limit: float, advice: str, is_fast: bool = False, is_golden: bool = False
) -> Callable[[Callable[[Specimens], Measurement]], Check]:
    """Make a check of a function that measures; fast ones are run before a training run."""
    return lambda measure: Check(name, limit, advice, is_fast, measure, is_golden)
