"""The commands by name. One is a module of its own here, imported only when it is called."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Command:
    """`gemma-bench NAME`."""

    name: str
    module: str
    """Below workbench.commands; holds `add_arguments(parser)` and `run(arguments) -> exit code`."""
    help: str

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare its arguments and options."""
        self._implementation().add_arguments(parser)

    def run(self, arguments: Namespace) -> int:
        """Do it; the exit code. Raises `Refusal`."""
        exit_code: int = self._implementation().run(arguments)
        return exit_code

    def _implementation(self) -> Any:
        return import_module(f"workbench.commands.{self.module}")


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
