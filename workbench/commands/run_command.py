"""`gemma-bench run`: start a run of a recipe and follow it."""

from argparse import ArgumentParser, Namespace

from engine.hardware.profiles import AUTO
from workbench import launch
from workbench.commands import doctor_command, follow, options

EXAMPLES = """\
  gemma-bench run quickstart                 fine-tune the small Gemma that comes along
  gemma-bench run my.toml --set training.learning_rate=1e-4
  gemma-bench run quickstart --detach        start it and leave
  gemma-bench run quickstart --json | jq 'select(.kind == "step").metrics.loss'"""


def add_arguments(parser: ArgumentParser) -> None:
    """A recipe, its hardware, and how it is started."""
    options.add_recipe(parser)
    options.add_hardware(parser)
    options.add_start(parser)


def run(arguments: Namespace) -> int:
    """Start it; the run's exit code, or 0 at once with --detach. Raises `Refusal`."""
    proposal = launch.propose(
        arguments.recipe,
        arguments.overrides,
        arguments.hardware or AUTO,
        arguments.out,
        anyway=arguments.anyway,
    )
    doctor_command.before_run()
    run_dir = proposal.make()
    launch.start(run_dir)
    return follow.follow_or_leave(run_dir, arguments)
