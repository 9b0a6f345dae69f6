"""The job that simulates a step: reads a request from its folder and writes the answer there."""

import traceback
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

from engine import events
from engine.budget.step_shape import StepShape, of_request
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import session_dir
from engine.sessions.session_dir import PreviewDir
from tools.simulator import cache
from tools.simulator.configuration import source
from tools.simulator.result import unavailable
from tools.simulator.versions import versions


def run_job(run: RunDir, log: EventLog, wishes: RunControl) -> None:
    """Simulate what request.json asks for, up to simulated.json and a done event.

    Asked to stop, it ends at once and writes nothing. Raises `Refusal` where the model is unknown.
    """
    began = monotonic()
    request = run.read_request()
    case = of_request(request)
    whole_depth = bool(request.get("simulate", {}).get("whole_depth", False))
    log.append(events.Phase(name="simulating", detail=case.model))

    beside = PreviewDir(run.path)
    session_dir.sweep(beside)
    is_watched = beside.viewer.exists()

    def stop() -> None:
        wishes.poll()
        if is_watched and not beside.has_viewer():
            raise StoppedEarly("nobody waits for the simulated step any more")
        if wishes.stopped_by:
            raise StoppedEarly(f"stopped by {wishes.stopped_by} before the step was simulated")

    stop()
    config = source(case.model)
    key = cache.key(case, config, whole_depth, versions())
    found = cache.find(key)
    if found is None:
        found = _simulated(config, case, whole_depth, stop, began)
        if found["error"] is None:
            cache.keep(key, found)
    elapsed_s = round(monotonic() - began, 2)
    run.write_simulated({**found, "case": case.as_dict(), "seconds": elapsed_s})
    log.append(
        events.Done(steps=1, loss=None, token_accuracy=None, elapsed_s=elapsed_s, adapter="")
    )


def _simulated(
    config: dict[str, Any],
    case: StepShape,
    whole_depth: bool,
    stop: Callable[[], None],
    began: float,
) -> dict[str, Any]:
    """An answer in any case: the packages' insides change, and the ledger needs to know of it."""
    stop()
    try:
        # Importing these takes longer than many answers, which a kept one needn't wait for.
        from tools.simulator.configuration import configuration
        from tools.simulator.report import answer

        given = answer(configuration(config), case, whole_depth=whole_depth, stop=stop)
    except StoppedEarly:
        raise
    except Exception as error:
        traceback.print_exc()
        from tools.simulator.patches import lacking

        given = unavailable(error, lacking())
    return replace(given, seconds=round(monotonic() - began, 2)).as_dict()
