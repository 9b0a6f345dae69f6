"""Forecast beside measured memory, and the longest batch in front."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine import events
from engine.events import Memory
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.hooks.memory_check import MemoryCheck, context_of
from engine.train.loader import LongestFirst
from engine.train.progress import StepResult

ROOT = Path(__file__).parents[1]
NO_STATE: Any = None
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


def told(
    folder: Path, forecast: dict[str, object] | None, *steps: int
) -> list[events.Event | None]:
    run = RunDir(folder)
    check = MemoryCheck(EventLog(run), forecast, "cpu")
    for step in steps:
        check.on_step_end(NO_STATE, StepResult(step, 1, 1, {"loss": 1.0, "grad_norm": 1.0}))
    return [events.decode(line) for line in run.events.read_bytes().splitlines()]


def test_the_difference_is_told_once_after_the_second_step(tmp_path: Path) -> None:
    (event,) = told(tmp_path, FORECAST, 1, 2, 3)
    assert isinstance(event, Memory)
    assert (event.step, event.source, event.forecast_allocated_gib) == (2, "ledger", 2.0)
    assert (event.forecast_reserved_gib, event.forecast_host_gib) == (None, 4.0)
    assert event.rss_gib > 0


def test_without_a_forecast_what_is_measured_is_told_all_the_same(tmp_path: Path) -> None:
    (event,) = told(tmp_path, None, 2)
    assert isinstance(event, Memory)
    assert (event.source, event.forecast_allocated_gib) == ("none", None)


def test_a_cpu_has_no_device_figures(tmp_path: Path) -> None:
    (event,) = told(tmp_path, FORECAST, 2)
    assert isinstance(event, Memory)
    assert (event.allocated_gib, event.reserved_gib, event.device_gib) == (None, None, None)


@pytest.mark.parametrize(
    ("device_gib", "reserved_gib", "context_gib"),
    [(11.0, 10.5, 0.5), (None, 10.5, None), (11.0, None, None)],
)
def test_a_context_is_what_the_device_holds_beyond_pytorch(
    device_gib: float | None, reserved_gib: float | None, context_gib: float | None
) -> None:
    event = msgspec.structs.replace(CARD, device_gib=device_gib, reserved_gib=reserved_gib)
    assert context_of(event) == context_gib


def test_what_apples_gpus_are_asked_is_there_to_be_asked() -> None:
    """No Mac has run it by us: the functions have to be there at least."""
    asked = ("current_allocated_memory", "driver_allocated_memory", "empty_cache",
             "get_rng_state", "set_rng_state")  # fmt: skip
    assert all(callable(getattr(torch.mps, name)) for name in asked)
    assert torch.get_device_module("mps") is torch.mps


def test_the_longest_batch_is_the_first() -> None:
    lengths = [3, 9, 4, 8, 1, 9, 2]
    order = list(LongestFirst(lengths, rows_per_step=3, seed=0))
    assert sorted(order) == [*range(len(lengths))]
    assert [lengths[place] for place in order[:3]] == [9, 9, 8]


def test_the_order_is_that_of_the_seed_and_another_every_epoch() -> None:
    sampler = LongestFirst([*range(50)], rows_per_step=2, seed=5)
    first = list(sampler)
    assert first == list(LongestFirst([*range(50)], rows_per_step=2, seed=5))
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
