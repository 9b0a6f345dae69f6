"""The commands by name. One is a module of its own here, imported only when it is called."""

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol


class Implementation(Protocol):
    """What the module of a command holds."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments and options."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit code. Raises `Refusal`."""


@dataclass(frozen=True, slots=True)
class Command:
    """`gemma-bench NAME`."""

    name: str
    module: str
    """Below workbench.commands."""
    help: str

    def implementation(self) -> Implementation:
        """Import it."""
        module: Implementation = import_module(f"workbench.commands.{self.module}")
        return module

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare its arguments and options."""
        self.implementation().add_arguments(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; the exit code. Raises `Refusal`."""
        return self.implementation().run(arguments)


COMMANDS = (
    Command("run", "run_command", "start a run of a recipe and follow it"),
    Command("preview", "preview_command", "show the rows as they will be trained on"),
    Command("budget", "budget_command", "what a recipe needs: memory, time, and what saves"),
    Command("doctor", "doctor_command", "prove that the installed packages train right"),
    Command("attach", "attach_command", "follow a run (default: the newest)"),
    Command("resume", "resume_command", "go on with a run that ended early"),
    Command("runs", "runs_command", "list runs and their states"),
    Command("stop", "stop_command", "ask a run to stop and save"),
)
