"""How an engine that said no last word ended, from what its supervisor wrote down."""

import signal
from typing import Any


def cause_of_death(record: dict[str, Any]) -> str:
    """Say it in words. Raises `KeyError`, `TypeError` or `AttributeError` where it is no ending."""
    code, number = record["exit"], record["signal"]
    if number == signal.SIGKILL:
        return f"killed by signal 9: {_why_killed(record.get('oom_kills', {}))}"
    if number:
        return f"killed by signal {number}"
    if code in {128 + number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}:
        return f"ended at once by a second {signal.Signals(code - 128).name}"
    cause = record.get("cause")
    why = f": {cause}" if cause else ""
    return f"exit code {code} without a last word{why}"


def _why_killed(oom_kills: dict[str, int]) -> str:
    """By the kernel's own count of whom it killed for want of memory; a machine's is of anyone."""
    if oom_kills.get("cgroup"):
        return "out of memory, as its cgroup counted"
    if oom_kills.get("machine"):
        return "out of memory, as the machine counted meanwhile"
    if oom_kills:
        return "kill -9, as the kernel counted none for want of memory"
    return "out of memory, or kill -9"
