"""Metrics that no code of the workbench knows: shown wherever the usual ones are."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_app import make_app, until
from msgspec.structs import replace
from recording import lay_down, opening, steps

from engine.events import Event, Metric, Plan, Step
from engine.events.kinds import SFT_METRICS
from engine.run.rundir import State
from workbench.commands.event_text import progress
from workbench.run_view import comparison, metrics, run_facts
from workbench.run_view.comparison import Side
from workbench.run_view.run_state import RunState
from workbench.screens.run import RunScreen
from workbench.widgets.chart import Chart

EVERY = 20
HELD_OUT = Metric(name="eval_loss", title="held-out loss", has_lowest=True)
HOSTILE = "[/bold]\x1b]0;mine\x07[red]"


def measured(step: Step, **more: float | None) -> Step:
    return replace(step, metrics=step.metrics | more)


def evaluated(last: int, **changed: Any) -> Iterator[Event]:
    """A run whose every 20th step evaluates, with a falling loss."""
    for event in opening(100):
        if isinstance(event, Plan):
            declared = (*SFT_METRICS, HELD_OUT)
            yield replace(event, metrics=changed.get("metrics", declared))
        else:
            yield event
    for step in steps(last, 100):
        yield measured(step, eval_loss=10 / step.step) if step.step % EVERY == 0 else step


def test_what_some_steps_measure_is_no_lost_number_in_the_others() -> None:
    run = RunState().fold(evaluated(90))
    assert run.steps.means("eval_loss") == ([20, 40, 60, 80], [10 / n for n in (20, 40, 60, 80)])
    assert run.steps.at("eval_loss", 30) is None
    assert run.steps.last("eval_loss") == run.steps.least("eval_loss") == 10 / 80
    assert len(run.steps.means("loss")[0]) == len(run.steps) == 90
    assert run.steps.last("never") is run.steps.least("never") is None


def test_it_is_told_between_its_steps() -> None:
    run = RunState().fold(evaluated(90))
    assert ("held-out loss", "0.125, best 0.125", "") in run_facts.of_last_step(run)
    assert "held-out loss 0.125" in progress(run)
    told = dict(comparison.figures([Side("a", {}, run, State("done"))]))
    assert (told["held-out loss"], told["lowest held-out loss"]) == (("0.125",), ("0.125",))


def test_a_run_without_it_has_a_dash() -> None:
    sides = [
        Side("a", {}, RunState().fold(evaluated(90)), State("done")),
        Side("b", {}, RunState().fold(evaluated(10)), State("done")),
    ]
    assert dict(comparison.figures(sides))["held-out loss"] == ("0.125", "-")


def test_a_lost_figure_is_told_as_such() -> None:
    run = RunState().fold([*evaluated(90), measured(next(steps(91, 100, 91)), eval_loss=None)])
    assert math.isnan(run.steps.last("eval_loss") or 0)
    assert ("held-out loss", "not a number, best 0.125", "bad") in run_facts.of_last_step(run)
    assert "held-out loss not a number" in progress(run)
    told = dict(comparison.figures([Side("a", {}, run, State("done"))]))
    assert told["held-out loss"] == ("not a number",)


def test_a_resumption_takes_back_what_was_measured_after_it() -> None:
    run = RunState().fold(evaluated(90)).fold(steps(35, 100, 31))
    assert run.steps.means("eval_loss")[0] == [20]
    assert run.steps.last("eval_loss") is None


def test_damage_that_names_ever_other_metrics_takes_no_more_room() -> None:
    run = RunState().fold(measured(step, **{f"m{step.step}": 1.0}) for step in steps(900, 1000))
    assert len(run.steps.names) <= 64
    assert run.steps.last("m900") is None
    assert run.steps.last("loss") is not None


def test_what_a_plan_calls_a_metric_is_made_harmless() -> None:
    spoken = (*SFT_METRICS, Metric(name="eval_loss", title=HOSTILE, label=HOSTILE))
    run = RunState().fold(evaluated(90, metrics=spoken))
    run = run.fold([measured(next(steps(91, 100, 91)), **{HOSTILE: 1.0})])
    names = [metrics.label(metric) for metric in metrics.of_run(run)]
    assert not any("\x1b" in text or "\x07" in text for text in (*names, progress(run)))


@pytest.mark.parametrize("title", [HELD_OUT.title, HOSTILE])
async def test_it_is_a_chart_to_switch_to(
    title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spoken = (*SFT_METRICS, replace(HELD_OUT, title=title))
    run = lay_down(Path("runs"), "2026-11-21-0930-one", evaluated(90, metrics=spoken))
    async with make_app(tmp_path, run).run_test(size=(120, 40)) as pilot:
        await until(
            pilot,
            lambda: isinstance(pilot.app.screen, RunScreen) and pilot.app.screen.latest.run.steps,
        )
        chart = pilot.app.screen.query_one("#other", Chart)
        seen = []
        for _ in range(9):
            seen.append(chart.metric.name)
            await pilot.press("v")
        assert "eval_loss" in seen
        while chart.metric.name != "eval_loss":
            await pilot.press("v")
        await pilot.pause()
        assert chart.text_rows()[0].strip() == "0.125"
