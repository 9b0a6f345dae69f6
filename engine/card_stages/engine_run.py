"""A run of the engine on the card, as users' runs are: a process of its own that writes events."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.budget.placement import forecast_recipe
from engine.card_stages.card_trial import CardTrial
from engine.guarded import Json
from engine.hardware.profiles import Profile
from engine.recipe import validate
from engine.run import rundir
from engine.run.job import Job
from engine.run.request import Request
from engine.run.rundir import RunDir

Event = dict[str, Any]
Settings = dict[str, dict[str, Any]]
"""Tables of a recipe."""
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process of the engine ended, and all events of its run."""

    code: int
    events: list[Event]

    def of_kind(self, kind: str) -> list[Event]:
        """Events of a kind, in their order."""
        return [event for event in self.events if event["kind"] == kind]

    def require_done(self) -> None:
        """Raises `RuntimeError` with the run's last word where it did not end as it should."""
        last = self.events[-1] if self.events else {}
        if self.code or last.get("kind") != "done":
            said = last.get("error") or f"its last event is {last.get('kind')}"
            raise RuntimeError(f"exit code {self.code}: {said}")


def prepared(folder: Path, profile: Profile, settings: Settings, rows: list[str]) -> RunDir:
    """A run directory in a folder that is not there: answers of so many rows, and their recipe.

    It neither answers nor scores.
    """
    folder.mkdir()
    source = folder / "rows.jsonl"
    with source.open("w") as file:
        for number, answer in enumerate(rows):
            row = {"question": f"Row {number}?", "response": answer}
            file.write(json.dumps(row) + "\n")
    data = {"sources": [{"path": str(source)}], **settings.get("data", {})}
    tables = {"samples": {"every": 0}, **settings, "data": data}
    recipe_file = folder / "recipe.toml"
    recipe_file.write_text("".join(f"{name} = {_toml(table)}\n" for name, table in tables.items()))
    recipe, text = validate.load(str(recipe_file), [])
    forecast = forecast_recipe(recipe, profile).budget.as_dict()
    request = Request("card-stage", recipe, profile, forecast, recipe_file=str(recipe_file))
    return rundir.create(text, request, folder / "run")


def _toml(value: Json) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def ended(trial: CardTrial, run: RunDir, job: Job = Job.TRAIN, fail: str = "") -> Ended:
    """Let the engine do a job to its end; `fail` is where it is to fail, as in GEMMA_BENCH_FAIL.

    Raises `TimeoutError` where the stage's time is over before.
    """
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", job, str(run.path)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "GEMMA_BENCH_FAIL": fail},
        )  # fmt: skip
        try:
            while True:
                try:
                    code = process.wait(_POLL_S)
                except subprocess.TimeoutExpired:
                    if trial.left_s < 0:
                        raise TimeoutError("the stage's time is over") from None
                else:
                    return Ended(code, _events(run))
        finally:
            process.kill()


def _events(run: RunDir) -> list[Event]:
    """Events that are whole."""
    lines = run.events.read_bytes().split(b"\n")[:-1] if run.events.exists() else []
    return [json.loads(line) for line in lines]
