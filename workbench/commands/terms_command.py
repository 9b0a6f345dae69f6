"""`gemma-bench terms`: Gemma's terms of use, and that they are agreed to."""

import sys
from argparse import ArgumentParser, Namespace

from engine import guarded
from engine.problems import ExitCode, Refusal
from workbench.commands.recipe_options import NamedRecipe

EXAMPLES = """\
  gemma-bench terms                          what they are, and whether they were agreed to
  gemma-bench terms --agree                  agree to them, once for this user"""


def add_arguments(parser: ArgumentParser) -> None:
    """Whether they are agreed to."""
    parser.add_argument("--agree", action="store_true", help="record that you agree to them")


def run(arguments: Namespace) -> int:
    """Show them; exit code 0. Raises `Refusal` where no record can be made."""
    from engine.gemma import terms

    print(f"{terms.TEXT}\n")
    if arguments.agree:
        _record()
    when = terms.agreed_on()
    print(f"Agreed to on {when}." if when else f"Not agreed to yet. To agree: {terms.COMMAND}")
    return ExitCode.DONE


def ask_where_needed(recipe: NamedRecipe) -> None:
    """Show them on a terminal, and ask, where the recipe's model needs that; else do nothing.

    Who agrees here has agreed for good. Without a terminal the recipe's problems say what to do.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from engine.gemma import terms
    from engine.gemma.gguf import files, model
    from engine.recipe import validate

    try:
        path = validate.load(recipe.name, recipe.overrides, on_paper=True)[0].model.path
        if not files.is_gguf(path) or not terms.are_missing(model.of(path).gemma):
            return
    except Refusal:
        # Told where the recipe is read in earnest.
        return
    print(f"{terms.TEXT}\n\nDo you agree to them? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in {"y", "yes"}:
        _record()


def _record() -> None:
    from engine.gemma import terms

    try:
        terms.agree()
    except OSError as error:
        fix = "Set XDG_DATA_HOME to a folder that you may write to"
        raise Refusal.of("terms", guarded.reason(error), fix) from None
