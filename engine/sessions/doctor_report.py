"""What the doctor found out about an install, and what of it is kept for later runs."""

import contextlib
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine import guarded, user_dirs
from engine.atomic import write_json
from engine.events import Warned
from engine.guarded import Json
from engine.run import wire


class Finding(Struct, frozen=True, forbid_unknown_fields=True):
    """The result of one check."""

    name: str
    passed: bool
    figure: float | None
    """The measured error; None where it was no number or could not be measured."""
    limit: float
    """The largest error that passes."""
    advice: str
    """What to do; where the check passed, at most a remark."""


class Diagnosis(Struct, frozen=True, rename={"findings": "checks"}):
    """Findings about one set of versions."""

    versions: dict[str, str]
    findings: tuple[Finding, ...]

    @property
    def has_passed(self) -> bool:
        """Whether every check did."""
        return all(finding.passed for finding in self.findings)

    def warnings(self) -> list[Warned]:
        """An event for each check that failed, for the runs on this install."""
        return [_warning(finding) for finding in self.findings if not finding.passed]

    def published(self) -> dict[str, Any]:
        """What --json prints; its keys are a contract with scripts."""
        record: dict[str, Any] = wire.plain(self)
        return record


def _warning(finding: Finding) -> Warned:
    figure = "no number" if finding.figure is None else f"{finding.figure:.2g}"
    return Warned(
        code="doctor",
        message=f"the doctor's check {finding.name!r} fails on this install: "
        f"{figure}, and at most {finding.limit:.2g} is right",
        fix=f"{finding.advice}. All checks: gemma-bench doctor",
    )


def from_record(record: Json) -> Diagnosis:
    """The diagnosis that was published as a record. Raises `ValueError` where it is none."""
    diagnosis: Diagnosis = wire.read(record, Diagnosis)
    return diagnosis


def load(versions: dict[str, str]) -> Diagnosis | None:
    """What was last found out about these versions; None where they were never examined."""
    try:
        diagnosis = from_record(guarded.json_document(_file()))
    except (OSError, ValueError):
        return None
    return diagnosis if diagnosis.versions == versions else None


def keep(diagnosis: Diagnosis) -> None:
    """Keep findings beside those of other checks on the same versions.

    A folder that can't be written to costs the next run a few seconds, no more.
    """
    before = load(diagnosis.versions)
    findings = (*before.findings, *diagnosis.findings) if before else diagnosis.findings
    by_name = {finding.name: finding for finding in findings}
    whole = Diagnosis(diagnosis.versions, tuple(by_name.values()))
    file = _file()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, whole.published())


def _file() -> Path:
    return user_dirs.data() / "doctor.json"
