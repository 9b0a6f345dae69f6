"""Make a run and start its engine: the only place that spawns."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine import guarded
from engine.hardware import card_probe, nvml, profiles, visible_card
from engine.hardware.gpu import Gpu
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe import files as recipe_files
from engine.run import checkpoint_manifest, run_folders, rundir, supervise
from engine.run.job import Job
from engine.run.request import Request
from engine.run.rundir import RunDir, RunStatus
from engine.sessions.session_dir import SessionDir

if TYPE_CHECKING:
    from engine.budget.placement import RecipeForecast
    from engine.recipe.schema import Recipe

_OWNER_ONLY = 0o077
"""umask of every engine: whatever a library writes is its owner's."""
_PATIENCE_S = 10.0
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""glibc on a CPU: it keeps small pieces that are freed, and gives each large one pages of its own.

Large ones in the heap leave holes that the next, aligned anew, don't fit in: a step of Gemma 3 270M
took 0.5 GiB for tensors of 0.1, and takes 0.3 so. That costs about 9 % of its speed: pages are
fetched anew, which huge ones make cheaper.
"""
OPENMP = {"GOMP_SPINCOUNT": "1000"}
"""How often an OpenMP thread of torch looks for work before it gives its core away.

GNU's default of 300,000 looks takes both cores from a run, a game or another user's process that
needs them: of quickstart's first 20 steps, 16 s alone on 2 cores, two at once were not done after
120 s, and take 28 s so. One alone is 1 to 4 % slower (`python bench/speed/neighbours.py`).
"""


@dataclass(frozen=True, slots=True)
class RunProposal:
    """A run that may be made: its recipe is sound, and fits as far as anybody can say."""

    recipe: bytes
    request: Request
    out: Path | None

    def make(self) -> RunDir:
        """Its directory, ready to start. Raises `Refusal`, exit code 3, where one is in the way."""
        run = rundir.create(self.recipe, self.request, self.out)
        run_folders.remember(run.path.parent)
        return run


def propose(
    name: str,
    overrides: list[str],
    profile_name: str,
    out: Path | None,
    *,
    anyway: bool = False,
    recipe_forecast: "RecipeForecast | None" = None,
) -> RunProposal:
    """Check a recipe on a profile; `recipe_forecast` is one made before. Nothing is made yet.

    Raises `Refusal`: exit code 2 for bad input, 4 where it can't fit, unless it is to start anyway.
    """
    from engine.recipe import validate
    from workbench.recipe_editor import fit_check

    recipe, text = validate.load(name, overrides)
    profile = profiles.runnable(profile_name)
    profile = _tried(profile, recipe)
    forecast = fit_check.forecast(recipe, profile, anyway=anyway, recipe_forecast=recipe_forecast)
    file = recipe_files.find(name)
    request = Request(
        name=file.stem,
        recipe=recipe,
        hardware=profile,
        forecast=forecast.as_dict() if forecast else None,
        recipe_file=str(file.resolve()),
        overrides=tuple(overrides),
        argv=tuple(sys.argv),
    )
    return RunProposal(text, request, out)


def start(run: RunDir, job: Job = Job.TRAIN) -> None:
    """Start a job of the engine that outlives this process; returns once it is under way.

    Raises `Refusal`: exit code 3 where another was faster, 2 where the request can't be read.
    """
    supervisor = [sys.executable, "-I", "-S", supervise.__file__, str(run.lock), str(run.ending)]
    hardware = run.read_request().hardware
    card = _card(hardware.device, hardware.visible_as)
    process = _spawn(run, [*supervisor, *_engine(run, job)], hardware.device, card)
    _wait_until(lambda: _supervisor(run) == process.pid or process.poll() is not None)
    if process.poll() == supervise.ALREADY_RUNNING:
        raise run.at_work()


def resume(run: RunDir) -> int:
    """Let a run that ended early go on; gives the bytes of its events from before.

    Raises `Refusal`: exit code 3 where it is at work, 2 where nothing is left or there is no
    checkpoint to go on from.
    """
    run.require_own()
    run.require_locks()
    state = run.state()
    if state.name is RunStatus.DAMAGED:
        raise Refusal.of(str(run.path), state.cause, "Start another run of its recipe")
    if state.name is RunStatus.DONE:
        raise Refusal.of(str(run.path), "the run is done", "Start another run of its recipe")
    # After its last word an engine takes a moment to go.
    if state.is_alive or not _wait_until(lambda: not run.is_alive()):
        raise run.at_work()
    checkpoint_manifest.require_newest(run)
    request = run.read_request()
    hardware = _tried(request.hardware, request.recipe)
    if hardware != request.hardware:
        # A compiler may have come or gone since.
        run.write_request(replace(request, hardware=hardware))
    bytes_before = run.events_bytes()
    start(run, Job.RESUME)
    # Until it speaks, its last word from before would be taken for the end.
    _wait_until(lambda: run.events_bytes() != bytes_before or not run.is_alive())
    return bytes_before


def _tried(profile: Profile, recipe: "Recipe") -> Profile:
    """The profile with what its card was tried for.

    Raises `Refusal` where torch, or NF4 where it is needed, can't use it.
    """
    if profile.device == "cpu":
        return profile
    answer = card_probe.require_usable(profile, needs_nf4=recipe.model.quantization == "nf4")
    return replace(profile, why_no_triton=answer.triton)


def start_beside(files: SessionDir, job: Job, device: str = "cpu") -> "subprocess.Popen[bytes]":
    """Start an engine that answers this process; one that needs no GPU gets none."""
    return _spawn(files, _engine(files, job), device, _card(device))


def _card(device: str, preferred: str = "") -> dict[str, str]:
    """One card of a GPU's kind, by name: what a run had before, or the one with most free memory.

    With several that are visible transformers would wrap the model in nn.DataParallel, which TRL
    refuses. On another device it sees none and takes nothing there.
    """
    if device != "cuda":
        return visible_card.only("")
    gpu = nvml.find(preferred)
    return visible_card.only(gpu.visible_as if isinstance(gpu, Gpu) else visible_card.first())


def _engine(run: RunDir, job: Job) -> list[str]:
    return [sys.executable, "-P", "-m", "engine", job, str(run.path.resolve())]


def _spawn(
    run: RunDir, command: list[str], device: str, card: dict[str, str]
) -> "subprocess.Popen[bytes]":
    """Start a command in a session of its own, which says into the run's log what it says."""
    log = os.open(run.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(
            command,
            start_new_session=True,
            umask=_OWNER_ONLY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(device) | card,
        )
    finally:
        os.close(log)


def _supervisor(run: RunDir) -> int | None:
    """The process that holds a run's lock, or held it last."""
    try:
        with guarded.opened(run.lock) as file:
            file.seek(supervise.SIGNATURE_AT)
            return int(file.read(supervise.SIGNATURE_BYTES))
    except (OSError, ValueError):
        return None


def _wait_until(is_so: Callable[[], bool]) -> bool:
    """Wait for it with patience that ends; whether it came."""
    deadline = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _environment(device: str) -> dict[str, str]:
    """This process's environment with what the engine needs."""
    return {
        **(_MALLOC if device == "cpu" else {}),
        **OPENMP,
        **os.environ,
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
