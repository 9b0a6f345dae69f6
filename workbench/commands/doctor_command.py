"""`gemma-bench doctor`: proofs on the installed packages, and the fast ones before a run."""

import argparse
import contextlib
import json
import shutil
import sys
import time

from engine import installed
from engine.problems import Refusal
from engine.sessions import doctor_report
from engine.sessions.doctor_report import Diagnosis, Finding
from workbench.sessions import doctor_session
from workbench.sessions.doctor_session import Doctor
from workbench.text.sanitize import clean_line

_POLL_S = 0.05
_NAME_CELLS = 40


def run(options: argparse.Namespace) -> int:
    """Run the checks and print them; exit code 0 where all passed, 1 where one did not."""
    asked = doctor_session.start(is_fast=options.fast)
    try:
        found = _waited_for(asked, is_told=not options.json)
    except KeyboardInterrupt:
        print("gemma-bench: interrupted", file=sys.stderr)
        return 130
    finally:
        asked.close()
    if asked.error or found is None:
        told = clean_line(asked.error or "it found out nothing", 500)
        print(f"gemma-bench: the doctor failed: {told}", file=sys.stderr)
        return 1
    print(json.dumps(found.published()) if options.json else _summary(found), flush=True)
    return 0 if found.has_passed else 1


def before_run() -> None:
    """Run the fast checks where these versions were never examined; the run tells what fails."""
    if doctor_report.kept(installed.versions()):
        return
    with contextlib.suppress(Refusal, OSError):  # a full disk is the run's to tell
        asked = doctor_session.start(is_fast=True)
        try:
            _waited_for(asked, is_told=False, before="once for these versions: ")
        finally:
            asked.close()


def _waited_for(asked: Doctor, *, is_told: bool, before: str = "") -> Diagnosis | None:
    """The diagnosis; until it is whole, what the engine is at stands on the terminal."""
    told, shown = 0, ""
    while True:
        found = asked.poll()
        new = found.findings[told:] if found else ()
        if is_told and new:
            shown = _redrawn("", is_drawn=bool(shown))
            print("\n".join(map(line, new)), flush=True)
        doing = "" if asked.has_ended else before + asked.doing
        if doing != shown:
            shown = _redrawn(doing, is_drawn=bool(shown))
        told += len(new)
        if asked.has_ended:
            return found
        time.sleep(_POLL_S)


def _redrawn(text: str, *, is_drawn: bool) -> str:
    """Draw a line in the place of the last, on a terminal; the text of it."""
    if sys.stderr.isatty() and (text or is_drawn):
        shown = clean_line(text)[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[2K{shown}", end="", file=sys.stderr, flush=True)
    return text


def line(finding: Finding) -> str:
    """A finding for people, with its advice below where there is any."""
    verdict = "ok  " if finding.passed else "FAIL"
    figure = "none" if finding.figure is None else f"{finding.figure:.2g}"
    advice = clean_line(finding.advice, 1000)
    told = f"{verdict}  {finding.name:<{_NAME_CELLS}}{figure:>8}  (at most {finding.limit:.2g})"
    return f"{told}\n      {advice}" if advice else told


def _summary(found: Diagnosis) -> str:
    passed = sum(finding.passed for finding in found.findings)
    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return f"{passed} of {len(found.findings)} checks passed\n{clean_line(versions)}"
