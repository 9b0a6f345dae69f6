"""`gemma-bench attach`: follow a run, in the app on a terminal, in lines elsewhere."""

from argparse import ArgumentParser, Namespace

from engine.run import runs
from workbench.commands import follow, options
from workbench.text.terminal import why_no_screen

EXAMPLES = """\
  gemma-bench attach                         the newest run, or the one at work
  gemma-bench attach 2026-01-02-0900-quickstart --json"""


def add_arguments(parser: ArgumentParser) -> None:
    """A run, or none for the newest."""
    parser.add_argument("run_name", metavar="RUN", nargs="?", help="a run's name or path")
    options.add_json(parser)


def run(arguments: Namespace) -> int:
    """Follow it; its exit code, or the app's. Raises `Refusal` where there is no such run."""
    followed = runs.find(arguments.run_name)
    if arguments.json or why_no_screen():
        return follow.follow(followed, as_json=arguments.json)
    from workbench.app import run_app

    return run_app(followed)
