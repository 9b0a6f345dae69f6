"""What quickstart promises: the adapter knows the facts, the base does not, in little memory."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.run.rundir import RunDir
from tests import command


@pytest.fixture(scope="module")
def quickstart(
    module_starts_anew: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, str]:
    """The whole of it, and what it printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    code, out, err = command.call(folder, "--run", "quickstart", "--out", "run")
    assert code == 0, err
    return RunDir(folder / "run"), out


def done(run: RunDir) -> dict[str, Any]:
    return command.records(run)[-1]


def test_the_adapter_answers_what_it_was_trained_on(quickstart: tuple[RunDir, str]) -> None:
    assert done(quickstart[0])["trained_exact"] >= 0.90


def test_the_adapter_answers_wordings_it_never_saw(quickstart: tuple[RunDir, str]) -> None:
    assert done(quickstart[0])["heldout_exact"] >= 0.60


def test_the_base_knows_next_to_nothing_of_it(quickstart: tuple[RunDir, str]) -> None:
    assert done(quickstart[0])["base_exact"] <= 0.05


def test_it_ends_with_both_answers_the_figures_and_the_place(
    quickstart: tuple[RunDir, str],
) -> None:
    run, out = quickstart
    page = out[out.index("loss per token") :]
    assert "> Who founded the Kushan Empire?" in page
    assert f"{100 * done(run)['trained_exact']:.1f} %" in page
    assert f"{100 * done(run)['heldout_exact']:.1f} %" in page
    assert f"{100 * done(run)['base_exact']:.1f} %" in page
    assert f"adapter {Path('run') / 'adapter'}" in page


def test_it_takes_little_memory(quickstart: tuple[RunDir, str]) -> None:
    run, _ = quickstart
    command.wait(run.ending.exists, 10)
    assert json.loads(run.ending.read_text())["max_rss_kib"] <= 2.5 * 1000**3 / 1024


def test_the_figures_are_those_of_the_saved_answers(quickstart: tuple[RunDir, str]) -> None:
    """Accuracy and loss of the last steps belong together: nearly all tokens right, little loss."""
    steps = [r for r in command.records(quickstart[0]) if r["kind"] == "step"]
    assert steps[0]["metrics"]["loss"] > 1.0 > steps[-1]["metrics"]["loss"]
    first, last = (step["metrics"]["token_accuracy"] for step in (steps[0], steps[-1]))
    assert last > first
