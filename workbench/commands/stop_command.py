"""`gemma-bench stop`: ask a run to stop after its step and save."""

from argparse import ArgumentParser, Namespace

from engine.problems import ExitCode, Refusal
from engine.run import runs
from engine.run.rundir import RunStatus, Want

EXAMPLES = """\
  gemma-bench stop 2026-01-02-0900-quickstart"""


def add_arguments(parser: ArgumentParser) -> None:
    """A run."""
    parser.add_argument("run_name", metavar="RUN", help="a run's name or path")


def run(arguments: Namespace) -> int:
    """Ask it. Raises `Refusal` where it is not running."""
    running = runs.find(arguments.run_name)
    if not running.is_alive():
        state = running.state()
        if state.name is RunStatus.DAMAGED:
            raise Refusal.of(running.name, state.cause, f"See what its log tells: {running.log}")
        reason = f"it is not running but {state.name}"
        raise Refusal.of(running.name, reason, "Nothing is left to stop")
    running.ask(Want.STOP, "gemma-bench stop")
    name = running.name
    print(f"{name} was asked to stop and save; gemma-bench attach {name} shows it end")
    return ExitCode.DONE
