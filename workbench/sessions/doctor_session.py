"""The doctor's engine, and what it has found out so far."""

from engine import events
from engine.run.job import Job
from engine.sessions import doctor_report
from engine.sessions.doctor_report import Diagnosis
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession


class Doctor(EngineSession):
    """One examination of the install. Nothing here waits; closing it ends the engine."""

    error = ""
    """Why there is no whole diagnosis, once the engine has ended without one."""
    has_ended = False

    def poll(self) -> Diagnosis | None:
        """The findings so far; None before the first."""
        code = self._engine.poll()
        is_done = False
        for event in self.new_events():
            if isinstance(event, events.Failed):
                self.error = event.error
            is_done |= isinstance(event, events.Done)
        self.has_ended = is_done or bool(self.error) or code is not None
        if code is not None and not is_done and not self.error:
            self.error = f"the engine ended with exit code {code}"
        record = self._files.read_diagnosis()
        return doctor_report.from_record(record) if record else None


def start(*, is_fast: bool) -> Doctor:
    """Start an engine that runs all checks, or the fast ones. Raises `Refusal`."""
    request = {"name": "doctor", "doctor": {"fast": is_fast}}
    return engine_session.start(Doctor, Job.DOCTOR, request)
