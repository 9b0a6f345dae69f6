"""Options that several commands take."""

import math
import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from engine import guarded
from engine.problems import Refusal


def add_data(parser: ArgumentParser) -> None:
    """Rows of the user's own, as `data`."""
    parser.add_argument(
        "--data",
        metavar="FILE",
        action="append",
        default=[],
        help="train on this file, folder or owner/name of the hub instead; again for more",
    )


def add_set(parser: ArgumentParser) -> None:
    """Changes of recipe keys, as `overrides`."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="change a recipe key: training.learning_rate=2e-4",
    )


def add_hardware(parser: ArgumentParser, more: str = "") -> None:
    """The hardware profile; None where none is named."""
    help_text = f"hardware profile (default: auto, this machine){more}"
    parser.add_argument("--hardware", metavar="NAME", help=help_text)


def add_json(parser: ArgumentParser, help: str = "events as JSON lines on stdout") -> None:
    """Output for programs."""
    parser.add_argument("--json", action="store_true", help=help)


def add_start(parser: ArgumentParser) -> None:
    """How a run is started and followed."""
    parser.add_argument("--out", metavar="DIR", type=Path, help="the run directory to make")
    parser.add_argument("--detach", action="store_true", help="start the run and leave it")
    parser.add_argument("--anyway", action="store_true", help="start it though it can't fit")
    add_json(parser)


def add_folders(parser: ArgumentParser) -> None:
    """In which folders runs are looked for; for `run_folders` to read."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        action="append",
        default=[],
        type=Path,
        help="runs below this folder instead of ./runs; again for more",
    )
    parser.add_argument(
        "--everywhere", action="store_true", help="runs of every folder where you made some"
    )


def run_folders(arguments: Namespace) -> list[Path]:
    """The folders whose runs are meant; none for `runs` here. Raises `Refusal`."""
    for root in arguments.root:
        if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
            reason = guarded.why_no_folder(root) or "there is no such folder"
            raise Refusal.of(f"--root {root}", reason, "Give another")
    from engine.run import run_folders
    from engine.run.rundir import RUNS

    everywhere = [RUNS, *run_folders.existing()] if arguments.everywhere else []
    return [*everywhere, *(f for root in arguments.root for f in run_folders.below(root))]


def count(text: str) -> int:
    """Read a count above 0."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"{text!r} is no count above 0")
    return int(text)


def minutes(text: str) -> float:
    """Read a time of at least a second."""
    return _number(text, 1 / 60, "no number of minutes")


def price(text: str) -> float:
    """Read an amount of money."""
    return _number(text, 0, "no price")


def _number(text: str, least: float, fault: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        raise ArgumentTypeError(f"{text!r} is {fault}")
    return number
