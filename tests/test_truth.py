"""Forecast beside measured memory, the longest batch in front, and what a card is known for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import events
from engine.budget import calibration
from engine.budget.calibration import Difference
from engine.events import Memory
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.memory_check import MemoryCheck, difference
from engine.train.order import LongestFirst

ROOT = Path(__file__).parents[1]
FORECAST = {
    "source": "ledger",
    "allocated_gib": {"low": 1.0, "expected": 2.0, "high": 3.0},
    "host_gib": 4.0,
}
CARD = Memory(
    step=2, source="simulated", forecast_allocated_gib=10.0, forecast_reserved_gib=10.0,
    forecast_device_gib=11.0, forecast_host_gib=2.5, allocated_gib=10.2, reserved_gib=10.5,
    device_gib=11.0, rss_gib=2.0,
)  # fmt: skip


def told(folder: Path, request: dict[str, object], *steps: int) -> list[events.Event | None]:
    run = RunDir(folder)
    truth = MemoryCheck(EventLog(run), request)
    for step in steps:
        truth.after(step)
    return [events.decode(line) for line in run.events.read_bytes().splitlines()]


def test_the_difference_is_told_once_after_the_second_step(tmp_path: Path) -> None:
    (event,) = told(tmp_path, {"forecast": FORECAST}, 1, 2, 3)
    assert isinstance(event, Memory)
    assert (event.step, event.source, event.forecast_allocated_gib) == (2, "ledger", 2.0)
    assert (event.forecast_reserved_gib, event.forecast_host_gib) == (None, 4.0)
    assert event.rss_gib > 0


def test_without_a_forecast_what_is_measured_is_told_all_the_same(tmp_path: Path) -> None:
    (event,) = told(tmp_path, {}, 2)
    assert isinstance(event, Memory)
    assert (event.source, event.forecast_allocated_gib) == ("none", None)


def test_a_cpu_has_no_device_figures(tmp_path: Path) -> None:
    (event,) = told(tmp_path, {"forecast": FORECAST}, 2)
    assert isinstance(event, Memory)
    assert (event.allocated_gib, event.reserved_gib, event.device_gib) == (None, None, None)


def test_what_a_card_needed_beyond_its_forecast() -> None:
    assert difference(CARD) == Difference(
        context_gib=0.5, allocated_ratio=1.02, reserved_ratio=1.05
    )


def test_a_difference_is_kept_by_card_driver_and_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    here, there = (calibration.key("L4", driver, "2.13") for driver in ("570", "580"))
    calibration.remember(here, Difference(0.4, 1.0, 1.0))
    calibration.remember(here, Difference(0.5, 1.1, 1.2))
    assert calibration.known(here) == Difference(0.5, 1.1, 1.2, runs=2)
    assert calibration.known(there) is None


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"card": 3}', '{"card": {"mood": 1}}'])
def test_a_damaged_file_is_no_difference(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    file = tmp_path / "gemma-bench" / "calibration.json"
    file.parent.mkdir()
    file.write_text(damage)
    assert calibration.known("card") is None
    calibration.remember("card", Difference(0.5, None, None))
    assert calibration.known("card") == Difference(0.5, None, None)


def test_the_longest_batch_is_the_first() -> None:
    lengths = [3, 9, 4, 8, 1, 9, 2]
    order = list(LongestFirst(lengths, batch=3, seed=0))
    assert sorted(order) == [*range(len(lengths))]
    assert [lengths[place] for place in order[:3]] == [9, 9, 8]


def test_the_order_is_that_of_the_seed_and_another_every_epoch() -> None:
    sampler = LongestFirst([*range(50)], batch=2, seed=5)
    first = list(sampler)
    assert first == list(LongestFirst([*range(50)], batch=2, seed=5))
    sampler.set_epoch(1)
    assert list(sampler) != first


SHOW = "import os, engine.__main__ as m; m._let_segments_expand(); print(os.environ[{!r}])"
VARIABLE = "PYTORCH_CUDA_ALLOC_CONF"


@pytest.mark.parametrize("given", [None, "backend:native"])
def test_segments_expand_unless_told_otherwise(given: str | None) -> None:
    cleared = {k: v for k, v in os.environ.items() if not k.endswith("ALLOC_CONF")}
    environment = cleared | ({VARIABLE: given} if given else {})
    command = [sys.executable, "-c", SHOW.format(VARIABLE)]
    shown = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert shown.stdout.decode().strip() == (given or "expandable_segments:True")
