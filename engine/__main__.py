"""`python -m engine JOB DIR`: says hello first, imports the heavy half second."""

import importlib
import os
import socket
import sys
import traceback
from importlib import metadata
from pathlib import Path

from engine import events
from engine.problems import Refusal
from engine.recipe.schema import Recipe
from engine.run import lock, offline
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.run.signals import Signals

JOBS = {
    "doctor": "engine.jobs.doctor_job",
    "generate": "engine.jobs.playground_job",
    "preview": "engine.jobs.preview_job",
    "resume": "engine.jobs.resume_job",
    "train": "engine.jobs.train_job",
}
"""Modules with a `run_job(run, log, wishes)`, by job."""


def main(arguments: list[str]) -> int:
    """Do one job in a run directory; exit code 0 done, 1 failed, 2 bad input, 3 already running."""
    if len(arguments) != 2 or arguments[0] not in JOBS:
        print(f"usage: python -m engine {{{','.join(JOBS)}}} DIR", file=sys.stderr)
        return 2
    job, run = arguments[0], RunDir(Path(arguments[1]))
    if not run.exists:
        print(f"{run.path}: no run was created here", file=sys.stderr)
        return 2
    held = lock.hold(run.lock, lock.ENGINE)
    if held is None:
        by = lock.holder(run.lock) or "an engine"
        print(f"{run.path}: {by} is at work in it", file=sys.stderr)
        return 3
    lock.sign(held)
    _let_segments_expand()
    _leave_compilers_out()
    # What ended a run once is of the past.
    wishes = RunControl(run, Signals(), is_resumed=job == "resume")
    log = EventLog(run)
    log.append(_hello(job))
    try:
        offline.stay_off_unless_named(_recipe(job, run))
        importlib.import_module(JOBS[job]).run_job(run, log, wishes)
    except Exception as error:
        traceback.print_exc()
        log.append(_failed(error, run, log))
        return error.exit_code if isinstance(error, Refusal) else 1
    return 0


def _recipe(job: str, run: RunDir) -> Recipe | None:
    """What is trained, where the job is to train."""
    return run.read_request().recipe if job in {"train", "resume"} else None


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


def _hello(job: str) -> events.Hello:
    return events.Hello(
        schema=events.SCHEMA_VERSION,
        job=job,
        pid=os.getpid(),
        host=socket.gethostname(),
        version=metadata.version("gemma-bench"),
    )


def _failed(error: Exception, run: RunDir, log: EventLog) -> events.Failed:
    from engine.train import out_of_memory
    from engine.train.hints import hint

    if isinstance(error, out_of_memory.OutOfMemory):
        return out_of_memory.failed(error, run.read_request(), log.phase, run.log.name)
    told = str(error) if str(error) else type(error).__name__
    return events.Failed(phase=log.phase, error=told, hint=hint(error), log=run.log.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
