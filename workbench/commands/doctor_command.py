"""`gemma-bench doctor`: proofs on the installed packages, and the fast ones before a run."""

import contextlib
import json
import sys
import time
from argparse import ArgumentParser, Namespace

from engine import installed
from engine.problems import ExitCode, Refusal
from engine.sessions import doctor_report
from engine.sessions.doctor_report import Diagnosis, Finding
from workbench.commands import options
from workbench.commands.status_line import StatusLine
from workbench.sessions import doctor_session
from workbench.sessions.doctor_session import Doctor
from workbench.text.sanitize import clean_line

_POLL_S = 0.05
_NAME_CELLS = 40


def add_arguments(parser: ArgumentParser) -> None:
    """All checks, or the fast ones."""
    parser.add_argument("--fast", action="store_true", help="only those that a run begins with")
    options.add_json(parser, "versions and checks as one JSON object")


def run(arguments: Namespace) -> int:
    """Run the checks and print them; exit code 0 where all passed, 1 where one did not."""
    doctor = doctor_session.start(is_fast=arguments.fast)
    try:
        diagnosis = _diagnosis(doctor, prints_findings=not arguments.json)
    finally:
        doctor.close()
    if doctor.error or diagnosis is None:
        error = clean_line(doctor.error or "it found out nothing", 500)
        print(f"gemma-bench: the doctor failed: {error}", file=sys.stderr)
        return ExitCode.FAILED
    as_text = json.dumps(diagnosis.published()) if arguments.json else _summary(diagnosis)
    print(as_text, flush=True)
    return ExitCode.DONE if diagnosis.has_passed else ExitCode.FAILED


def before_run() -> None:
    """Run the fast checks where these versions were never examined; the run tells what fails."""
    if doctor_report.kept(installed.versions()):
        return
    with contextlib.suppress(Refusal, OSError):  # a full disk is the run's to tell
        doctor = doctor_session.start(is_fast=True)
        try:
            _diagnosis(doctor, prints_findings=False, before="once for these versions: ")
        finally:
            doctor.close()


def _diagnosis(doctor: Doctor, *, prints_findings: bool, before: str = "") -> Diagnosis | None:
    """Wait until it is whole; meanwhile what the engine does stands on the terminal."""
    printed, status = 0, StatusLine()
    while True:
        diagnosis = doctor.poll()
        new = diagnosis.findings[printed:] if diagnosis else ()
        if prints_findings and new:
            status.show("")
            print("\n".join(map(line, new)), flush=True)
        printed += len(new)
        status.show("" if doctor.has_ended else before + doctor.phase)
        if doctor.has_ended:
            return diagnosis
        time.sleep(_POLL_S)


def line(finding: Finding) -> str:
    """A finding for people, with its advice below where there is any."""
    verdict = "ok  " if finding.passed else "FAIL"
    figure = "none" if finding.figure is None else f"{finding.figure:.2g}"
    advice = clean_line(finding.advice, 1000)
    text = f"{verdict}  {finding.name:<{_NAME_CELLS}}{figure:>8}  (at most {finding.limit:.2g})"
    return f"{text}\n      {advice}" if advice else text


def _summary(diagnosis: Diagnosis) -> str:
    passed = sum(finding.passed for finding in diagnosis.findings)
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    return f"{passed} of {len(diagnosis.findings)} checks passed\n{clean_line(versions)}"
