"""`python -m engine JOB DIR`: says hello first, imports the heavy half second."""

import contextlib
import importlib
import os
import socket
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import events
from engine.gemma.gguf import files
from engine.gemma.shapes import EMBEDDED
from engine.problems import ExitCode, Refusal
from engine.recipe.schema import Recipe
from engine.run import disk, forgiving_output, lock, supervise
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.foothold import Foothold, RunGone
from engine.run.job import Job
from engine.run.rundir import RunDir
from engine.run.signals import Signals


def main(arguments: list[str]) -> int:
    """Do one job in a run directory; an exit code."""
    forgiving_output.install()
    jobs = {job.value: job for job in Job}
    if len(arguments) != 2 or arguments[0] not in jobs:
        listing = "\n".join(f"  {job:<10} {job.summary}" for job in Job)
        print(f"usage: python -m engine JOB DIR\n{listing}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    job, run = jobs[arguments[0]], RunDir(Path(arguments[1]))
    if not run.exists:
        print(f"{run.path}: no run was created here", file=sys.stderr)
        return ExitCode.BAD_INPUT
    try:
        engine_lock = lock.hold(run.lock, lock.ENGINE)
    except lock.NoLocks as error:
        print(f"{run.path}: {error.strerror}", file=sys.stderr)
        return ExitCode.BAD_INPUT
    if engine_lock is None:
        holder = lock.holder(run.lock) or "an engine"
        print(f"{run.path}: {holder} is at work in it", file=sys.stderr)
        return ExitCode.IN_THE_WAY
    lock.sign(engine_lock)
    _let_segments_expand()
    _leave_compilers_out()
    _leave_tiles_out()
    foothold = Foothold(run, engine_lock)
    # What ended a run once is of the past.
    control = RunControl(run, Signals(), is_resumed=job is Job.RESUME, foothold=foothold)
    log = EventLog(run)
    log.append(_hello(job))
    try:
        recipe = run.read_request().recipe if job.is_of_run else None
        _stay_off_the_hub(recipe)
        _imported(job).run_job(run, log, control)
    except Exception as error:
        if foothold.is_lost:
            return _leave(run, log, foothold)
        traceback.print_exc()
        _tell(log, _failed(error, run, log))
        return error.exit_code if isinstance(error, Refusal) else ExitCode.FAILED
    return ExitCode.DONE


def _imported(job: Job) -> Any:
    """The module of a job, and the heavy half with it."""
    patch = importlib.import_module("engine.model.patches.lean_imports")
    with patch.lean_imports():
        return importlib.import_module(f"engine.jobs.{job.module}")


def _leave(run: RunDir, log: EventLog, foothold: Foothold) -> int:
    """Say what was done in a directory that is gone; where it was moved to, its events tell too."""
    gone = RunGone(f"{foothold.fate()}; {_accomplished(log, foothold)}")
    print(gone, file=sys.stderr)
    _tell(log, _failed(gone, run, log))
    return ExitCode.FAILED


def _let_segments_expand() -> None:
    """Set CUDA's allocator before torch is imported, unless the user has.

    Otherwise memory that is reserved can grow to half more than is ever allocated, as rows of
    different lengths leave gaps that the next one doesn't fit in.
    """
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & set(os.environ):
        os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"


def _leave_compilers_out() -> None:
    """Nothing here is compiled by torch.compile; bitsandbytes would load all of it to be ready.

    That is about a sixth of the time that the engine takes to start, and 40 MiB.
    """
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")


def _leave_tiles_out() -> None:
    """Keep oneDNN from AMX where torch was told to do without AVX-512.

    Attention in bfloat16 would ask oneDNN whether it may pack for AMX, and fail at packing, which
    takes AVX-512 (torch 2.13, from 64 tokens on).
    """
    if os.environ.get("ATEN_CPU_CAPABILITY") in ("default", "avx2"):
        os.environ.setdefault("DNNL_MAX_CPU_ISA", "AVX512_CORE_FP16")


def _stay_off_the_hub(recipe: Recipe | None) -> None:
    """Keep the libraries from the network where the recipe names nothing of the hub.

    TRL tells the hub of each trainer that is made, which is off in any case.
    """
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if recipe is None:
        return
    path = recipe.model.path
    is_local = path == EMBEDDED or os.path.isdir(path) or files.is_gguf(path)
    if is_local and not any(source.id for source in recipe.data.sources):
        os.environ["HF_HUB_OFFLINE"] = "1"


def _tell(log: EventLog, failed: events.Failed) -> None:
    """Say the last word where it is read, and to the supervisor, which needs no disk to hear it."""
    log.append(failed)
    with contextlib.suppress(KeyError, ValueError, OSError):
        said = failed.error[: supervise.MAX_CAUSE_CHARS].encode("utf-8", "replace")
        os.write(int(os.environ[supervise.CAUSE_FD]), said)


def _accomplished(log: EventLog, foothold: Foothold) -> str:
    """What an engine that lost its directory had done and saved."""
    steps = f"training ends after step {log.last_step}" if log.last_step else "no step was taken"
    if not log.last_checkpoint:
        return f"{steps}, and no checkpoint was saved by then"
    now_in = foothold.moved_to()
    became = f"lies in {now_in}" if now_in else "went with it"
    return f"{steps}; {log.last_checkpoint} was the last that was saved, and {became}"


def _hello(job: Job) -> events.Hello:
    return events.Hello(
        schema=events.SCHEMA_VERSION,
        job=job,
        pid=os.getpid(),
        host=socket.gethostname(),
        version=metadata.version("gemma-bench"),
    )


def _failed(error: Exception, run: RunDir, log: EventLog) -> events.Failed:
    from engine.train import failures
    from engine.train.hooks.save_checkpoints import NotSaved
    from engine.train.saving.final_adapter import EndFailed

    if isinstance(error, failures.OutOfMemory):
        return failures.failed(error, run.read_request(), log.phase, run.log.name)
    message = str(error) or type(error).__name__
    if isinstance(error, EndFailed) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    full = None if isinstance(error, NotSaved) else disk.full_error(error)
    if full:
        message = f"{disk.cause(full, run.path)}: {message}"
    return events.Failed(
        phase=log.phase, error=message, hint=failures.hint(error), log=run.log.name
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
