"""`gemma-bench stop`: ask runs to stop after their step and save."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from engine.problems import ExitCode, Problem, Refusal
from engine.run import runs
from engine.run.rundir import RunDir, RunStatus, Want
from workbench.commands import options

EXAMPLES = """\
  gemma-bench stop 2026-01-02-0900           by what a run's name begins with, or holds
  gemma-bench stop first-run second-run      several
  gemma-bench stop --all                     every run of this folder that is at work
  gemma-bench stop --all --everywhere        every run of yours that is"""


def add_arguments(parser: ArgumentParser) -> None:
    """Runs, or all."""
    parser.add_argument("names", metavar="RUN", nargs="*", help="a run's name, part of it, or path")
    parser.add_argument("--all", action="store_true", help="every run that is at work")
    options.add_folders(parser)


def run(arguments: Namespace) -> int:
    """Ask them, once each is known to be at work. Raises `Refusal` where one is not."""
    if bool(arguments.names) == arguments.all:
        reason = "name the runs, or give --all" if not arguments.all else "--all needs no names"
        raise Refusal.of("stop", reason, "gemma-bench runs lists them")
    listed = runs.every(options.run_folders(arguments))
    alive = [listed_run for listed_run in listed if listed_run.is_alive()]
    for running in _writable(alive) if arguments.all else _named(arguments.names, listed, alive):
        running.ask(Want.STOP, "gemma-bench stop")
        name = running.argument
        line = f"{name} was asked to stop and save; gemma-bench attach {name} shows it end"
        print(line, flush=True)
    return ExitCode.DONE


def _writable(alive: Sequence[RunDir]) -> list[RunDir]:
    """Those that this user may ask; that there are others, or none at all, is said."""
    own = [run for run in alive if os.access(run.path, os.W_OK)]
    if len(own) < len(alive):
        print(f"left alone, since they belong to other users: {len(alive) - len(own)} at work")
    elif not alive:
        print("no run is at work")
    return own


def _named(names: Sequence[str], listed: Sequence[RunDir], alive: Sequence[RunDir]) -> list[RunDir]:
    """The runs that are meant, each once: those at work before those that ended."""
    by_path: dict[str, RunDir] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            meant = runs.one(name, alive) if runs.meant_by(name, alive) else _any(name, listed)
            _require_at_work(meant)
            by_path[str(meant.path.resolve())] = meant
        except Refusal as refusal:
            problems += refusal.problems
    if problems:
        raise Refusal("stop" if len(problems) > 1 else problems[0].key, problems)
    return list(by_path.values())


def _any(name: str, listed: Sequence[RunDir]) -> RunDir:
    return runs.one(name, listed) if runs.meant_by(name, listed) else runs.find(name)


def _require_at_work(run: RunDir) -> None:
    if run.is_alive():
        if not os.access(run.path, os.W_OK):
            raise Refusal.of(run.name, "it belongs to another user", "Ask its owner to stop it")
        return
    state = run.state()
    if state.name is RunStatus.DAMAGED:
        raise Refusal.of(run.name, state.cause, f"See what its log tells: {run.log}")
    raise Refusal.of(run.name, f"it is not running but {state.name}", "Nothing is left to stop")
