"""What is said when input can't be accepted: every mistake at once, each with its fix."""

from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the commands and the engine end with."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    IN_THE_WAY = 3
    """A live engine is at work there."""
    DOES_NOT_FIT = 4
    INTERRUPTED = 130
    """Stopped, or left, by Ctrl-C here."""
    STOPPED = 143
    """Stopped by somebody else."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, why it is one, and what to do."""

    key: str
    """Dotted recipe key, option or path that the mistake belongs to."""
    value: str
    """The value as given, shortened; empty when there is none."""
    reason: str
    fix: str
    nearest: str = ""
    """The nearest valid key, where a key was unknown."""

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.key}{value}: {self.reason}. {self.fix}"


class Refusal(Exception):
    """Input that was refused before anything was made; carries all its problems."""

    def __init__(
        self, where: str, problems: list[Problem], exit_code: int = ExitCode.BAD_INPUT
    ) -> None:
        self.where = where
        self.problems = problems
        self.exit_code = exit_code
        # One that names its place itself need not be told of it twice.
        is_placed = [problem.key for problem in problems] == [where]
        lines = problems if is_placed else [f"{where}:", *(f"  {problem}" for problem in problems)]
        super().__init__("\n".join(map(str, lines)))

    @classmethod
    def of(
        cls,
        where: str,
        reason: str,
        fix: str,
        *,
        key: str = "",
        exit_code: int = ExitCode.BAD_INPUT,
    ) -> "Refusal":
        """Refuse for a single problem; `key` says where it stands if not at `where`."""
        return cls(where, [Problem(key or where, "", reason, fix)], exit_code)
