"""The forecast of a run's memory: where it is read, and how it is told beside what is measured."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from recording import FORECAST, compared, lay_down, load, on_card

from engine.events import Memory
from workbench.commands import event_text
from workbench.run_view import run_facts
from workbench.run_view.run_facts import MemoryForecast
from workbench.run_view.run_state import RunState


def told(*, is_on_card: bool = False) -> Memory:
    steps = on_card(load("live")) if is_on_card else load("live")
    return next(event for event in compared(steps) if isinstance(event, Memory))


def test_a_run_is_asked_for_its_forecast(tmp_path: Path) -> None:
    run = lay_down(tmp_path, "run", [], forecast=FORECAST)
    assert run_facts.forecast_of(run) == MemoryForecast(reserved_gib=10.4, host_gib=0.95)


@pytest.mark.parametrize("forecast", [None, {}, {"reserved_gib": 3, "host_gib": 1.0}])
def test_a_run_without_a_forecast(forecast: Any, tmp_path: Path) -> None:
    run = lay_down(tmp_path, "run", [], forecast=forecast)
    assert run_facts.forecast_of(run) == MemoryForecast()
    run.request.write_text("{")
    assert run_facts.forecast_of(run) == MemoryForecast()
    run.request.unlink()
    assert run_facts.forecast_of(run) == MemoryForecast()


def test_what_the_engine_tells_comes_first() -> None:
    asked = MemoryForecast(1.0, 2.0)
    assert run_facts.forecast_beside(asked, None) == asked
    assert run_facts.forecast_beside(asked, told(is_on_card=True)) == MemoryForecast(10.4, 0.95)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (told(), "forecast 0.95, measured 0.74 GiB"),
        (told(is_on_card=True), "forecast 10.40, measured 9.84 GiB"),
        (msgspec.structs.replace(told(), forecast_host_gib=None), "measured 0.74 GiB, no forecast"),
    ],
    ids=["cpu", "card", "none"],
)
def test_the_event_in_words(event: Memory, words: str) -> None:
    state = RunState().fold([*load("live")[:9], event])
    assert event_text.sentence(event, state) == f"memory after step 2: {words}"
    assert ("at step 2", words, "") in run_facts.of_last_step(state)
