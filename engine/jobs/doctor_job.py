"""The job that examines the install: check by check, each finding told when it is there."""

from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from engine import events, installed
from engine.hardware import kernel_choice, profiles
from engine.hardware.profiles import AUTO
from engine.model.patches.lean_imports import lean_imports
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import doctor_report, session_dir
from engine.sessions.doctor_report import Diagnosis, Finding
from engine.sessions.session_dir import SessionDir


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Run all checks, or the fast ones where request.json says so, up to a done event.

    The findings so far stand in diagnosis.json after each check, and are kept for later runs.
    """
    began = monotonic()
    is_fast = bool(run.read_request_document().get("doctor", {}).get("fast"))
    beside = SessionDir(run.path)
    session_dir.sweep(beside)
    is_watched = beside.viewer.exists()
    log.append(events.Phase(name="loading", detail="the packages"))

    # Seconds of imports, which its viewer is told of first.
    with lean_imports():
        import torch

        from engine.doctor import side_by_side
        from engine.doctor.checks import CHECKS
        from engine.doctor.specimens import Specimens

    # A second thread wins nothing on tiny matrices, and waits for its turn where cores are busy.
    torch.set_num_threads(1)

    versions, findings, cause = installed.versions(), list[Finding](), ""
    with TemporaryDirectory(prefix="gemma-bench-") as folder:
        # Through the kernels that runs on this machine go through, though it is all on the CPU.
        has_own_head = kernel_choice.has_own_head(profiles.profile(AUTO).device)
        specimens = Specimens(Path(folder), has_own_head=has_own_head)
        checks = [check for check in CHECKS if check.is_fast or not is_fast]
        look_up = partial(_stop_if_asked, beside, control, is_watched=is_watched)
        with closing(side_by_side.measurements(checks, specimens, look_up)) as measurements:
            for check in checks:
                log.append(events.Phase(name="checking", detail=check.name))
                findings.append(check.finding(next(measurements), cause))
                cause = cause or check.cause(findings[-1])
                beside.write_diagnosis(Diagnosis(versions, tuple(findings)).published())
    doctor_report.keep(Diagnosis(versions, tuple(findings)))
    log.append(_done(len(findings), round(monotonic() - began, 2)))


def _stop_if_asked(beside: SessionDir, control: RunControl, *, is_watched: bool) -> None:
    control.poll()
    if control.stopped_by or (is_watched and not beside.has_viewer()):
        raise StoppedEarly(f"stopped by {control.stopped_by or 'its viewer'} between two checks")


def _done(checks: int, elapsed_s: float) -> events.Done:
    return events.Done(
        steps=checks, loss=None, token_accuracy=None, elapsed_s=elapsed_s, adapter=""
    )
