"""`gemma-bench doctor`: proofs on the installed packages, and the fast ones before a run."""

import contextlib
import json
import sys
import time
from argparse import ArgumentParser, Namespace

from engine import events, installed
from engine.problems import ExitCode, Refusal
from engine.run.job import Job
from engine.sessions import doctor_report
from engine.sessions.doctor_report import Diagnosis, Finding
from workbench.commands import doctor_gpu, doctor_machine, options
from workbench.commands.status_line import StatusLine
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession
from workbench.text.sanitize import sanitize_line

_POLL_S = 0.05
_NAME_CELLS = 40


class Doctor(EngineSession):
    """One examination of the install. Nothing here waits; closing it ends the engine."""

    error = ""
    """Why there is no whole diagnosis, once the engine has ended without one."""
    has_ended = False

    def poll(self) -> Diagnosis | None:
        """The findings so far; None before the first."""
        code = self._engine.poll()
        is_done = False
        for event in self.new_events():
            if isinstance(event, events.Failed):
                self.error = event.error
            is_done |= isinstance(event, events.Done)
        self.has_ended = is_done or bool(self.error) or code is not None
        if code is not None and not is_done and not self.error:
            self.error = f"the engine ended with exit code {code}"
        record = self._files.read_diagnosis()
        return doctor_report.from_record(record) if record else None


def _start(*, is_fast: bool) -> Doctor:
    request = {"name": "doctor", "doctor": {"fast": is_fast}}
    return engine_session.start(Doctor, Job.DOCTOR, request)


EXAMPLES = """\
  gemma-bench doctor                         all checks, in some minutes
  gemma-bench doctor --fast                  those that a run begins with
  gemma-bench doctor --gpu --out DIR         what this machine's card does, in 9 minutes"""


def add_arguments(parser: ArgumentParser) -> None:
    """All checks, or the fast ones, or those of the card."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--fast", action="store_true", help="only those that a run begins with")
    which.add_argument("--gpu", action="store_true", help="the card: correctness, memory, speed")
    doctor_gpu.add_arguments(parser)
    options.add_json(parser, "versions and checks as one JSON object")


def run(arguments: Namespace) -> int:
    """Run the checks and print them; exit code 0 where all passed, 1 where one did not."""
    if arguments.gpu:
        return doctor_gpu.run(arguments)
    of_machine = list[Finding]()
    for finding in doctor_machine.findings():
        of_machine.append(finding)
        if not arguments.json:
            print(line(finding), flush=True)
    doctor = _start(is_fast=arguments.fast)
    try:
        diagnosis = _diagnosis(doctor, prints_findings=not arguments.json)
    finally:
        doctor.close()
    if doctor.error or diagnosis is None:
        error = sanitize_line(doctor.error or "it found out nothing", 500)
        print(f"gemma-bench: the doctor failed: {error}", file=sys.stderr)
        return ExitCode.FAILED
    diagnosis = Diagnosis(diagnosis.versions, (*of_machine, *diagnosis.findings))
    as_text = json.dumps(diagnosis.published()) if arguments.json else _summary(diagnosis)
    print(as_text, flush=True)
    return ExitCode.DONE if diagnosis.has_passed else ExitCode.FAILED


def before_run() -> None:
    """Run the fast checks where these versions were never examined; the run tells what fails."""
    if doctor_report.load(installed.versions()):
        return
    with contextlib.suppress(Refusal, OSError):  # a full disk is the run's to tell
        doctor = _start(is_fast=True)
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
    advice = sanitize_line(finding.advice, 1000)
    text = f"{verdict}  {finding.name:<{_NAME_CELLS}}{figure:>8}  (at most {finding.limit:.2g})"
    return f"{text}\n      {advice}" if advice else text


def _summary(diagnosis: Diagnosis) -> str:
    passed = sum(finding.passed for finding in diagnosis.findings)
    versions = ", ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    return f"{passed} of {len(diagnosis.findings)} checks passed\n{sanitize_line(versions)}"
