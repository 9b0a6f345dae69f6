"""The commands by name. One is a module of its own here, imported only when it is called."""

from importlib import import_module
from typing import Any

COMMANDS = {
    "run": "start a run of a recipe and follow it",
    "preview": "show the rows as they will be trained on",
    "budget": "what a recipe needs: memory, time, and what saves",
    "recipes": "list the recipes that come along, and those of this folder",
    "import": "make a recipe of a configuration for Axolotl, LLaMA-Factory, TRL or Unsloth",
    "hardware": "list the hardware profiles, and what this machine is",
    "doctor": "prove that the installed packages train right",
    "attach": "follow a run (default: the newest)",
    "talk": "ask a run's adapter, and its base beside it",
    "export": "make of a run's adapter what others can run",
    "resume": "go on with a run that ended early",
    "runs": "list runs and how each stands",
    "terms": "show Gemma's terms of use, and agree to them",
    "stop": "ask runs to stop and save",
    "completion": "print what bash, zsh or fish needs to complete all this",
}
"""What each does."""
SYNONYMS = {"train": "run"}
"""Other words that are taken for a command."""


def module(name: str) -> Any:
    """The command's module.

    It has `EXAMPLES`, lines for its help, `add_arguments(parser)`, and `run(arguments) -> exit
    code`.
    """
    return import_module(f"workbench.commands.{name}_command")
