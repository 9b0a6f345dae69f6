"""`gemma-bench doctor --gpu`: the stages that examine this machine's card, as each ends."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from engine import guarded
from engine.hardware import card_examination
from engine.hardware.card_examination import Record
from engine.problems import ExitCode, Refusal
from workbench.commands import options
from workbench.text.sanitize import sanitize_line

_MINUTES = 9.0
_OUT = Path("gpu-examination")
_CASE_CELLS = 46
_LEFT_OUT = ("case", "passed", "seconds", "versions", "limit", "advice")


def add_arguments(parser: ArgumentParser) -> None:
    """How long it may take, and where its records go."""
    card = parser.add_argument_group("with --gpu")
    card.add_argument(
        "--minutes", metavar="N", type=options.minutes, default=_MINUTES,
        help=f"what all stages may take together (default: {_MINUTES:g})",
    )  # fmt: skip
    card.add_argument(
        "--out", metavar="DIR", type=Path, default=_OUT,
        help=f"gets results.jsonl and a log of each stage (default: ./{_OUT})",
    )  # fmt: skip


def run(arguments: Namespace) -> int:
    """Print each stage as it ends; exit code 0 where all passed, 1 where one did not.

    Raises `Refusal` where there is no card that torch can use, or no folder to write to.
    """
    profile = card_examination.card()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = guarded.why_no_folder(arguments.out) or guarded.reason(error)
        fix = "Give a folder you may write to"
        raise Refusal.of(f"--out {arguments.out}", reason, fix) from None
    have_passed = True
    for record in card_examination.examine(profile, arguments.minutes, arguments.out):
        have_passed &= record["status"] == "passed"
        print(json.dumps(record) if arguments.json else _page(record), flush=True)
    return ExitCode.DONE if have_passed else ExitCode.FAILED


def _page(record: Record) -> str:
    """A stage for people: its outcome, and a line for each part."""
    head = f"{record['stage']}: {record['status']}, {record['seconds']:.0f} s"
    error = [f"  {sanitize_line(record['error'], 300)}"] if "error" in record else []
    return "\n".join([head, *error, *map(_line, record["parts"])])


def _line(part: Record) -> str:
    verdict = "    " if "passed" not in part else "ok  " if part["passed"] else "FAIL"
    figures = ", ".join(
        f"{key} {_figure(value)}" for key, value in part.items() if key not in _LEFT_OUT
    )
    text = f"  {verdict}  {part.get('case', ''):<{_CASE_CELLS}} {figures}"
    return sanitize_line(text.rstrip(), 1000)


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
