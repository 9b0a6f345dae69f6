"""Named points at which a test lets this process die, wait, or find disk or memory full.

`GEMMA_BENCH_FAIL=checkpoint.hashed:kill` does it at the first pass; `:kill@3` at the third. Unset,
a point is an empty function.
"""

import errno
import os
import signal
import time

_SETTING = os.environ.get("GEMMA_BENCH_FAIL", "")
_SLEEP_S = 5.0
_passes = 0


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch's own, and known by that name."""


def _enact(name: str) -> None:
    global _passes
    point, _, act = _SETTING.partition(":")
    act, _, pass_number = act.partition("@")
    if name != point:
        return
    _passes += 1
    if _passes != int(pass_number or 1):
        return
    if act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "sleep":
        time.sleep(_SLEEP_S)
        return
    if act == "oom":
        raise OutOfMemoryError(f"asked for at {name}")
    number = {"enospc": errno.ENOSPC, "eio": errno.EIO}[act]
    raise OSError(number, os.strerror(number), name)


def _pass(name: str) -> None:
    """Do nothing: no test asks for a failure."""


reached = _enact if _SETTING else _pass
"""Say that a point is reached; raises `OSError` where a test asks for that."""
