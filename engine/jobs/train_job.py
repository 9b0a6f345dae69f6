"""A training run from its first step."""

from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.run import train_run


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Train as the run's request says, up to its done event."""
    train_run(run, log, control, None)
