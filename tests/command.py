"""The gemma-bench command as users start it: a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.events import decode
from engine.run.rundir import RunDir

COMMAND = Path(sys.executable).with_name("gemma-bench")
SHORT = [
    "--set", "training.max_steps=6",
    "--set", "training.save_steps=3",
    "--set", "samples.every=2",
    "--set", "samples.max_new_tokens=8",
    "--set", "score.max_new_tokens=8",
]  # fmt: skip
LONG = ["--set", "training.max_steps=2000", "--set", "samples.every=0"]


def start(cwd: Path, *arguments: str, **settings: Any) -> "subprocess.Popen[bytes]":
    """Start a command without waiting for it."""
    return subprocess.Popen(
        [COMMAND, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        **settings,
    )


def finish(process: "subprocess.Popen[bytes]", patience_s: float = 240) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, err = process.communicate(timeout=patience_s)
    return process.returncode, out.decode(), err.decode()


def call(cwd: Path, *arguments: str) -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout and stderr."""
    return finish(start(cwd, *arguments))


def records(run: RunDir) -> list[dict[str, Any]]:
    """The events written so far; a torn last line is left out."""
    lines = run.events.read_bytes().split(b"\n")[:-1] if run.events.exists() else []
    return [json.loads(line) for line in lines]


def readable_records(run: RunDir) -> list[dict[str, Any]]:
    """The events written so far, without lines that a full disk cut off."""
    lines = run.events.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines if decode(line)]


def kinds(run: RunDir) -> list[str]:
    """Kinds of the events written so far."""
    return [record["kind"] for record in records(run)]


def wait(until: Callable[[], Any], patience_s: float = 120) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + patience_s
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
