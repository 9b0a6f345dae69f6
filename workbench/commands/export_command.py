"""`gemma-bench export`: a run's adapter becomes something that others can run."""

import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from engine import guarded
from engine.events import Done, Failed
from engine.problems import ExitCode
from engine.run import adapters
from engine.run.job import Job
from engine.sessions import export_order
from engine.sessions.export_order import DEFAULT_FORMAT, MANIFEST, NUMBER_FORMATS, Form, Order
from workbench.commands import options
from workbench.commands.status_line import StatusLine
from workbench.commands.talk_command import run_with_adapter
from workbench.sessions import engine_session
from workbench.sessions.engine_session import EngineSession
from workbench.text.sanitize import as_json, sanitize_line

EXAMPLES = """\
  gemma-bench export --as merged             the newest run's, as a model that needs no PEFT
  gemma-bench export 2026-01-02-0900 --as adapter --out my-adapter
  gemma-bench export RUN --as gguf --type Q8_0
  gemma-bench export RUN --as adapter --base google/gemma-3-270m"""
_POLL_S = 0.05


def add_arguments(parser: ArgumentParser) -> None:
    """A run, the form, and where to."""
    parser.add_argument(
        "run_name", metavar="RUN", nargs="?", help="a run's name or path (default: the newest)"
    )
    forms = "; ".join(f"{form}: {form.summary}" for form in Form) + " (default: merged)"
    parser.add_argument(
        "--as", dest="form", default=str(Form.MERGED), choices=[*map(str, Form)], help=forms
    )
    parser.add_argument(
        "--type", dest="number_format", default=DEFAULT_FORMAT, choices=NUMBER_FORMATS,
        help=f"numbers of a GGUF file (default: {DEFAULT_FORMAT})",
    )  # fmt: skip
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="the folder to make (default: RUN/export/FORM)"
    )
    parser.add_argument(
        "--adapter", metavar="NAME", default="", help="as checkpoints/step-000200 (default: newest)"
    )
    parser.add_argument(
        "--base", metavar="ID", default="", help="the base on the hub, as owner/name@revision"
    )
    options.add_json(parser, "the export's manifest as one JSON object")


def run(arguments: Namespace) -> int:
    """Make it; exit code 1 where it failed. Raises `Refusal`."""
    run = run_with_adapter(arguments.run_name)
    adapter = adapters.find(run, arguments.adapter)
    form: Form = Form.__members__[arguments.form.upper()]
    folder = export_order.place(run, adapter, form, arguments.number_format, arguments.out)
    order = Order(
        run=str(run.path.resolve()),
        adapter=adapter.name,
        form=form,
        folder=str(folder),
        number_format=arguments.number_format,
        base=arguments.base,
    )
    device = engine_session.device_of(run.path)
    session = engine_session.start(Exporting, Job.EXPORT, export_order.request(order), device)
    try:
        code, error = _follow(session)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        session.close()
        shutil.rmtree(export_order.partial(folder), ignore_errors=True)
    if error:
        print(f"gemma-bench: {error}", file=sys.stderr)
        return code
    manifest = guarded.json_document(folder / MANIFEST)
    record = as_json({"folder": str(folder), **manifest})
    print(record if arguments.json else _summary(folder, manifest))
    return ExitCode.DONE


class Exporting(EngineSession):
    """One engine that makes one export."""

    def exit_code(self) -> int:
        """How it ended; waits for that after its last word."""
        return self._engine.wait()


def _follow(session: Exporting) -> tuple[int, str]:
    """Wait for the end: exit code, and why it failed."""
    status = StatusLine()
    try:
        while True:
            death = session.death
            for event in (news := session.new_events()):
                if isinstance(event, Done):
                    return ExitCode.DONE, ""
                if isinstance(event, Failed):
                    hint = "" if event.hint in event.error else f". {event.hint}"
                    return session.exit_code(), sanitize_line(f"{event.error}{hint}", 1000)
            if death and not news:
                last = session.log_tail()[-1:]
                words = ": ".join([f"the engine {death}", *filter(None, last)])
                return ExitCode.FAILED, sanitize_line(words, 500)
            status.show(session.phase)
            time.sleep(_POLL_S)
    finally:
        status.show("")


def _summary(folder: Path, manifest: dict[str, Any]) -> str:
    size = sum(file["bytes"] for file in manifest["files"].values()) / (1 << 20)
    remarks = (f"  {sanitize_line(remark, 500)}" for remark in manifest["remarks"])
    head = f"{folder}: {manifest['form']}, {size:,.1f} MiB"
    return "\n".join([sanitize_line(head, 500), *remarks])
