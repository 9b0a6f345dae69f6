"""`gemma-bench resume`: let a run that ended early go on, itself or as a changed branch."""

from argparse import ArgumentParser, Namespace

from engine.problems import Refusal
from engine.run import runs
from engine.run.job import Job
from workbench import launch
from workbench.commands import follow, options

EXAMPLES = """\
  gemma-bench resume 2026-01-02-0900-quickstart
  gemma-bench resume 2026-01-02-0900-quickstart --branch --set training.learning_rate=1e-4"""


def add_arguments(parser: ArgumentParser) -> None:
    """A run, and what its branch changes."""
    parser.add_argument("run_name", metavar="RUN", help="a run's name or path")
    parser.add_argument(
        "--branch", action="store_true", help="as another run, with what --set changes"
    )
    options.add_set(parser)
    options.add_start(parser)


def run(arguments: Namespace) -> int:
    """Let it go on; the run's exit code, or 0 at once with --detach. Raises `Refusal`."""
    resumed, bytes_before = runs.find(arguments.run_name), 0
    if arguments.branch:
        from workbench.commands.branch import branch

        resumed = branch(resumed, arguments.overrides, arguments.out, anyway=arguments.anyway)
        launch.start(resumed, Job.RESUME)
    elif arguments.overrides or arguments.out or arguments.anyway:
        reason = "--set, --out and --anyway are taken with --branch only"
        raise Refusal.of("resume", reason, "A run goes on as it was; --branch makes another of it")
    else:
        bytes_before = launch.resume(resumed)
    return follow.follow_or_leave(resumed, arguments, bytes_before)
