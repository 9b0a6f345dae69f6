"""`gemma-bench runs`: runs, newest first, with what a glance at their files tells."""

import os
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from typing import Any

from engine.problems import ExitCode, Refusal
from engine.run import run_folders, run_summary, runs
from engine.run.run_summary import RunSummary
from engine.run.rundir import RUNS, RunDir
from workbench.commands import options
from workbench.run_view import run_table
from workbench.run_view.run_table import Entry
from workbench.text import format, text_table
from workbench.text.sanitize import as_json

EXAMPLES = """\
  gemma-bench runs                           those below runs/ of this folder
  gemma-bench runs --everywhere              those of every folder where you made some
  gemma-bench runs --root /home              those below a folder, whoever made them
  gemma-bench runs --json | jq -r 'select(.state == "failed").path'"""


def add_arguments(parser: ArgumentParser) -> None:
    """Whose runs, and a table for people or JSON."""
    options.add_folders(parser)
    options.add_json(parser, "one JSON object per run")


def run(arguments: Namespace) -> int:
    """Print them. Raises `Refusal` where a folder, or `runs`, is none."""
    folders = options.run_folders(arguments)
    if not folders and not arguments.root and os.path.lexists(RUNS) and not RUNS.is_dir():
        raise Refusal.of(str(RUNS), "it is no folder", "Move it away, or name one with --root")
    listed = [(run, run_summary.summarize(run)) for run in runs.every(folders)]
    if arguments.json:
        for run_dir, summary in listed:
            print(as_json(_record(run_dir, summary)))
        return ExitCode.DONE
    if listed:
        rows = [_cells(run_dir, summary) for run_dir, summary in listed]
        text_table.say(run_table.COLUMNS[1:], rows, run_table.SPARED)
    elif folders:
        print("no run there")
    else:
        here = os.path.realpath(RUNS)
        others = [folder for folder in run_folders.existing() if os.path.realpath(folder) != here]
        count = format.amount(len(others), "other folder")
        elsewhere = f"; gemma-bench runs --everywhere lists those of {count}" if others else ""
        print(f"no run here yet; start one: gemma-bench --run quickstart{elsewhere}")
    return ExitCode.DONE


def _cells(run: RunDir, summary: RunSummary) -> list[str]:
    name = run.name if run.path.parent == RUNS else str(run.path)
    return [name, *run_table.cells(Entry(run, summary), ())[2:]]


def _record(run: RunDir, summary: RunSummary) -> dict[str, Any]:
    step, made_at = summary.last_step, summary.made_at
    return {
        "run": run.name,
        "path": str(run.path.resolve()),
        "owner": summary.owner,
        "made": None if made_at is None else datetime.fromtimestamp(made_at, UTC).isoformat(),
        "state": summary.state.name,
        "cause": summary.state.cause,
        "recipe": summary.recipe,
        "model": summary.model,
        "step": step.step if step else None,
        "total_steps": summary.total_steps,
        "loss": step.metric("loss") if step else None,
        "left_s": None if summary.left_s is None else round(summary.left_s, 1),
        "device": summary.device,
        "memory_gib": summary.memory_gib,
    }
