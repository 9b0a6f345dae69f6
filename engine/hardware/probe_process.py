"""What a Python of its own comes to, which a driver may crash or keep from ever ending."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def answer(
    *arguments: str, deadline_s: float, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The object of JSON on the last line that a Python prints, called with `arguments`.

    Raises `RuntimeError` with its last word where it ends without one, `TimeoutError` where it
    doesn't end in time.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", env={**os.environ, **(variables or {})},
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=deadline_s)
    except BaseException as error:  # an interrupt too: it may hold a card
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in the kernel, it can't die
            process.wait(timeout=1)
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimeoutError(f"gave no answer in {deadline_s:.0f} s") from None
        raise
    try:
        return {**json.loads(out.strip().splitlines()[-1])}
    except (ValueError, LookupError, TypeError):
        lines = err.strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"exit code {process.returncode}") from None
