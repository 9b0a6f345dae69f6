"""Whole runs with tables in host memory: the same events and files, and a playground on them."""

from pathlib import Path
from typing import Any

import pytest

from engine.jobs.playground_job import _opened
from engine.model import host_embeddings
from engine.model.answers.token_stream import TokenStream
from engine.run import adapters
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions.playground import Opening, Prompt, Settings
from tests import command

Runs = dict[str, RunDir]
FIGURES = ("loss", "grad_norm", "token_accuracy")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The same few steps with the table on the host, on the device, and where the budget says."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for place in ("true", "false", "auto"):
        chosen = ("--set", f"model.host_tables={place}")
        code, _, err = command.call(
            folder, "--run", "quickstart", "--out", place, *command.SHORT, *chosen
        )
        assert code == 0, err
        made[place] = RunDir(folder / place)
    return made


def of(kind: str, run: RunDir) -> list[dict[str, Any]]:
    return [record for record in command.records(run) if record["kind"] == kind]


def test_adapters_are_the_same_files(runs: Runs) -> None:
    for name in (adapters.WEIGHTS, adapters.CONFIG):
        one, *others = ((run.adapter / name).read_bytes() for run in runs.values())
        assert one
        assert all(one == other for other in others), name


def test_events_tell_the_same(runs: Runs) -> None:
    told = [
        (
            [
                [step["tokens"], *(step["metrics"][name] for name in FIGURES)]
                for step in of("step", run)
            ],
            [(sample["base"], sample["adapter"]) for sample in of("sample", run)],
            [(plan["parameters"], plan["trainable_parameters"]) for plan in of("plan", run)],
        )
        for run in runs.values()
    ]
    assert len(told[0][0]) == 6
    assert told[0][1]
    assert told[0] == told[1] == told[2]


def test_the_plan_says_where_and_why(runs: Runs) -> None:
    reasons = {place: of("plan", run)[0]["reasons"] for place, run in runs.items()}
    name = "per-layer embeddings"
    assert reasons["true"][name] == "in host memory: asked for by the recipe"
    assert name not in reasons["false"]
    assert reasons["auto"][name].startswith("on the device: the step needs ")


def test_a_playground_answers_as_the_run_did(runs: Runs, tmp_path: Path) -> None:
    sample = of("sample", runs["true"])[-1]
    adapted = _opened(Opening(str(runs["true"].path)), EventLog(RunDir(tmp_path)))
    assert host_embeddings.table_of(adapted.model) is not None
    settings = Settings(max_new_tokens=8)
    for side in ("base", "adapter"):
        speech = TokenStream(Prompt(1, side, (("user", sample["prompt"]),), settings), adapted)
        said = ""
        while not speech.reason:
            said += speech.step()
        assert said.strip() == sample[side]
