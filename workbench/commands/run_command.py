"""`gemma-bench run`: start a run of a recipe and follow it."""

from argparse import ArgumentParser, Namespace

from engine.hardware.profiles import AUTO
from workbench import launch
from workbench.commands import doctor_command, follow, options, recipe_options, terms_command

EXAMPLES = """\
  gemma-bench run quickstart                 fine-tune the small Gemma that comes along
  gemma-bench run rows.jsonl                 the same on rows of your own
  gemma-bench run gemma3-1b-lora-sft --data rows.jsonl
  gemma-bench run my.toml --set training.learning_rate=1e-4
  gemma-bench run quickstart --detach        start it and leave
  gemma-bench run quickstart --json | jq 'select(.kind == "step").metrics.loss'"""


def add_arguments(parser: ArgumentParser) -> None:
    """A recipe, its hardware, and how it is started."""
    recipe_options.add_recipe(parser)
    options.add_hardware(parser)
    options.add_start(parser)


def run(arguments: Namespace) -> int:
    """Start it; the run's exit code, or 0 at once with --detach. Raises `Refusal`."""
    recipe = recipe_options.named(arguments)
    terms_command.ask_where_needed(recipe)
    proposal = launch.propose(
        recipe.name,
        recipe.overrides,
        arguments.hardware or AUTO,
        arguments.out,
        anyway=arguments.anyway,
    )
    recipe.say()
    doctor_command.before_run()
    run_dir = proposal.make()
    launch.start(run_dir)
    return follow.follow_or_leave(run_dir, arguments)
