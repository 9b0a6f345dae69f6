"""Make a run and start its engine: the only place that spawns."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import hardware, recipe_files, rundir, supervise
from engine.previewdir import PreviewDir
from engine.rundir import RunDir

if TYPE_CHECKING:
    from workbench.fitting import Known

_START_DEADLINE_S = 10.0
_MALLOC_BYTES = str(8 << 30)
"""glibc then keeps freed memory, which saves a CPU step most of its page faults."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that may be made."""

    name: str
    recipe: bytes
    request: dict[str, Any]
    out: Path | None

    def make(self) -> RunDir:
        """Its directory, ready to start. Raises `Refusal`, exit code 3, where one is in the way."""
        return rundir.create(self.name, self.recipe, self.request, self.out)


def judge(
    name: str,
    overrides: list[str],
    profile_name: str,
    out: Path | None,
    *,
    anyway: bool = False,
    known: "Known | None" = None,
) -> Judged:
    """A recipe on a profile, judged; `known` is a better forecast. Nothing is made yet.

    Raises `Refusal`: exit code 2 for bad input, 4 where it can't fit, unless it is to start anyway.
    """
    from engine import check
    from workbench import fitting

    recipe, text = check.load(name, overrides)
    profile = hardware.runnable(profile_name)
    forecast = fitting.forecast(recipe, profile, anyway=anyway, known=known)
    request = {
        "recipe": recipe.model_dump(mode="json"),
        "recipe_file": str(recipe_files.find(name).resolve()),
        "overrides": overrides,
        "hardware": profile.as_dict(),
        "forecast": forecast.as_dict() if forecast else None,
        "argv": sys.argv,
    }
    return Judged(recipe_files.find(name).stem, text, request, out)


def start(run: RunDir, job: str = "train") -> None:
    """Start a job of the engine that outlives this process; returns once it is under way."""
    command = [sys.executable, "-P", "-m", "engine", job, str(run.path.resolve())]
    supervisor = [sys.executable, "-I", "-S", supervise.__file__, str(run.lock), str(run.ending)]
    log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            [*supervisor, *command],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(run.read_request()["hardware"]["device"]),
        )
    finally:
        os.close(log)
    deadline = time.monotonic() + _START_DEADLINE_S
    while not run.is_alive() and not run.ending.exists() and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.01)


def start_beside(files: PreviewDir, job: str, device: str = "cpu") -> "subprocess.Popen[bytes]":
    """Start an engine that answers this process; one that needs no GPU gets none."""
    hidden = {} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    log = os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", job, str(files.path)],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**_environment(device), **hidden},
        )
    finally:
        os.close(log)


def _environment(device: str) -> dict[str, str]:
    """This process's environment with what the engine needs.

    A run takes one GPU, the first that is visible: with several, transformers would wrap the model
    in nn.DataParallel, which TRL refuses.
    """
    one_gpu = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
    }
    return {
        "MALLOC_MMAP_THRESHOLD_": _MALLOC_BYTES,
        "MALLOC_TRIM_THRESHOLD_": _MALLOC_BYTES,
        **os.environ,
        **(one_gpu if device == "cuda" else {}),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
