"""The engine's job that makes of a run's adapter what others run. It ends with its viewer."""

import importlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from engine import events
from engine.export import base_files
from engine.export.export import Export
from engine.run import adapters
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import export_order, session_dir
from engine.sessions.export_order import Order
from engine.sessions.session_dir import SessionDir


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Write the form that the request asks for, up to a done event. Raises `Refusal`."""
    began = monotonic()
    session = SessionDir(run.path)
    session_dir.sweep(session)
    order = export_order.order(run.read_request_document())
    is_watched = session.viewer.exists()

    def look_up() -> None:
        control.poll()
        if control.stopped_by or (is_watched and not session.has_viewer()):
            raise StoppedEarly(f"stopped by {control.stopped_by or 'its viewer'}")

    export = _export(order, log, look_up)
    importlib.import_module(f"engine.export.{order.form.module}").write(export)
    elapsed_s = round(monotonic() - began, 2)
    log.append(
        events.Done(
            steps=0, loss=None, token_accuracy=None, elapsed_s=elapsed_s, adapter=order.folder
        )
    )


def _export(order: Order, log: EventLog, look_up: Callable[[], None]) -> Export:
    run = RunDir(Path(order.run))
    request = run.read_request()
    adapter = adapters.find(run, order.adapter)
    log.append(events.Phase(name="reading", detail=adapter.name))
    base = base_files.of(request.recipe.model, order.base)
    return Export(
        run,
        request,
        adapter,
        base,
        order.form,
        Path(order.folder),
        order.number_format,
        log,
        look_up,
    )
