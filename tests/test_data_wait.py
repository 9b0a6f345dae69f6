"""How long steps wait for data is told with each of them, and warned of where it is much."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.recipe import validate
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train import loop
from engine.train.hooks.data_wait import WINDOW_STEPS, DataWait
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from tests import command, tiny


@dataclass
class Clock:
    """Stands still but for what moves it."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Slow(Hook):
    """Rows take 3 s a batch, the optimizer 5 s; what the loop says of both."""

    clock: Clock
    waits: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)

    def on_gradients(self, state: TrainingState) -> None:
        self.clock.now += 5.0

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        self.waits.append(result.data_wait_s)
        self.durations.append(result.duration_s)
        self.clock.now += 1000.0  # what hooks do is no part of a step


def test_a_step_tells_the_time_until_its_batches_were_there(
    gemma_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    slow = Slow(clock)
    settings = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 4}
    trial = tiny.trainer(tiny.loaded(gemma_folder("gemma3")), slow, **settings)
    collate = trial.state.loader.collate_fn
    assert collate

    def collated(rows: list[Any]) -> Any:
        clock.now += 3.0
        return collate(rows)

    trial.state.loader.base_dataloader.collate_fn = collated
    trial.train()
    # One batch is fetched ahead: with the first step three, with the last of an epoch one.
    assert slow.waits == [9.0, 6.0, 6.0, 3.0]
    assert slow.durations == [wait + 5.0 for wait in slow.waits]


def warnings(folder: Path, wait_s: float, duration_s: float, model: Any) -> list[dict[str, Any]]:
    """Of a run whose first step waits for long, and whose others all do so."""
    folder.mkdir()
    run = RunDir(folder)
    hook = DataWait(EventLog(run))
    state: Any = SimpleNamespace(model=model)
    for step in range(1, 3 * WINDOW_STEPS):
        result = StepResult(step, 4, 4, {}, duration_s, 50.0 if step == 1 else wait_s)
        assert hook.measure(state, result) == {"data_wait_s": result.data_wait_s}
        hook.on_step_end(state, result)
    return command.records(run) if run.events.exists() else []


@pytest.mark.parametrize(
    ("wait_s", "duration_s", "is_warned"),
    [(0.5, 1.0, True), (0.26, 1.0, True), (0.24, 1.0, False), (0.015, 0.02, False)],
)
def test_a_warning_once_where_it_is_much_of_the_time(
    wait_s: float, duration_s: float, is_warned: bool,
    gemma_folder: Callable[[str], Path], tmp_path: Path,
) -> None:  # fmt: skip
    model = tiny.loaded(gemma_folder("gemma3")).model
    told = warnings(tmp_path / "run", wait_s, duration_s, model)
    assert [one["code"] for one in told] == ["data_wait"] * is_warned
    for one in told:
        share = f"{wait_s:.0%} of the {WINDOW_STEPS} steps up to step {WINDOW_STEPS + 1}"
        assert one["message"].startswith(share)
        assert f"{wait_s:.3g} of {duration_s:.3g} s a step" in one["message"]
        assert "TMPDIR" in one["fix"]
        assert "host_tables" not in one["fix"]


def test_tables_in_host_memory_are_named_among_the_causes(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny.loaded(gemma_folder("embedded"), host_tables=True).model
    (told,) = warnings(tmp_path / "run", 0.5, 1.0, model)
    _, setting = told["fix"].rsplit(" ", 1)
    recipe, _ = validate.load("quickstart", [setting])
    assert recipe.model.host_tables is False
