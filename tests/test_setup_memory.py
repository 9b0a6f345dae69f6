"""The setup's memory pane on the real ledger and the real job."""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_app import BROKEN, GOOD, MACHINE, make_app, until
from textual.pilot import Pilot

from engine.hardware import profiles
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe.schema import Recipe
from engine.run import runs
from workbench.recipe_editor import background_assessment, recipe_assessment
from workbench.screens.run import RunScreen
from workbench.sessions import simulation_session
from workbench.sessions.simulation_session import Simulation
from workbench.widgets.budgetbar import BudgetBar
from workbench.widgets.problems import Problems

SIZE = (120, 40)
PATIENCE = 2400
"""Of 0.05 s: importing torch takes its time where two cores are shared."""


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


class Started:
    """Starts simulations and remembers them."""

    def __init__(self) -> None:
        self.all: list[Simulation] = []

    def __call__(self, recipe: Recipe, profile: Profile) -> Simulation:
        self.all.append(simulation_session.start(recipe, profile))
        return self.all[-1]

    def are_at_work(self) -> bool:
        return any(one._engine.returncode is None for one in self.all)

    def are_gone(self) -> bool:
        return not self.are_at_work() and not any(one._files.path.exists() for one in self.all)


def memory(pilot: Pilot[Any]) -> list[str]:
    return pilot.app.screen.query_one(BudgetBar).text_rows()


def shows(pilot: Pilot[Any], text: str) -> Callable[[], bool]:
    return lambda: text in " ".join(memory(pilot))


def verdict(pilot: Pilot[Any]) -> str:
    return " ".join(pilot.app.screen.query_one(Problems).text_rows())


def can_start(pilot: Pilot[Any]) -> bool:
    active = pilot.app.screen.active_bindings.values()
    return "start" in {each.binding.action for each in active if each.enabled}


def write_recipe(name: str, *lines: str) -> str:
    Path("rows.jsonl").write_text('{"messages": []}\n')
    Path(name).write_text("\n".join([*lines, GOOD]))
    return name


async def test_the_pane_follows_the_keys(tmp_path: Path) -> None:
    short = write_recipe("short.toml")
    Path("long.toml").write_text(GOOD.replace("[data]", "[data]\nmax_length = 1024"))
    app = make_app(tmp_path, recipes=[short, "long.toml"])
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "0.07 of 6.80 GiB usable: it fits"))
        await pilot.press("down")
        await until(pilot, shows(pilot, "0.12 of 6.80 GiB usable: it fits"))
        await pilot.press("shift+tab", "down")
        await until(pilot, shows(pilot, "of 11.40 GiB usable: it fits"))
        assert memory(pilot)[0] == "estimated"
        await pilot.press("down", "down")
        await until(pilot, shows(pilot, "of 75.67 GiB usable: it fits"))


async def test_what_cannot_fit_is_not_started(tmp_path: Path) -> None:
    app = make_app(tmp_path, machine=replace(MACHINE, memory_gib=0.06))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "It would fit with" in verdict(pilot))
        assert "memory   it needs 0.07 of 0.05 GiB usable: it doesn't fit" in verdict(pilot)
        assert "training.per_device_train_batch_size = 2" in verdict(pilot)
        assert shows(pilot, "it doesn't fit")()
        assert not can_start(pilot)
        await pilot.press("s")
        assert not Path("runs").exists()


async def test_nothing_would_make_it_fit(tmp_path: Path) -> None:
    app = make_app(tmp_path, machine=replace(MACHINE, memory_gib=0.001))
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "or a smaller model" in verdict(pilot))
        assert not can_start(pilot)


async def test_a_model_of_unknown_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    name = write_recipe("hub.toml", "[model]", 'path = "google/gemma-9-xs-it"')
    started = Started()
    app = make_app(tmp_path, recipes=[name], simulate=started)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "not known: 'google/gemma-9-xs-it' is no Gemma"))
        assert can_start(pilot)
        await pilot.pause(1.5)
        assert not started.all


async def test_a_recipe_with_mistakes_has_no_memory_pane(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "it fits"))
        await pilot.press("down")
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        assert not pilot.app.screen.query_one(BudgetBar).display


async def test_the_badge_becomes_simulated_and_the_run_takes_the_figures(tmp_path: Path) -> None:
    started = Started()
    machine = profiles.profile("auto")
    app = make_app(tmp_path, machine=machine, recipes=["quickstart"], simulate=started)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "estimated"))
        await until(pilot, shows(pilot, "estimated, now simulating a step"))
        await until(pilot, lambda: memory(pilot)[0] == "simulated", PATIENCE)
        await until(pilot, started.are_gone)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        (run,) = runs.every()
        assert run.read_request()["forecast"]["source"] == "simulated"
        await until(pilot, run.events.exists)
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(run.events.read_bytes().splitlines()[0])["pid"], signal.SIGKILL)


@pytest.mark.parametrize("keys", [("down",), ("r",)], ids=["another choice", "another screen"])
async def test_the_job_ends_when_it_is_not_wanted(tmp_path: Path, keys: tuple[str, ...]) -> None:
    started = Started()
    app = make_app(tmp_path, recipes=["quickstart", "none.toml"], simulate=started)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: started.all)
        assert started.are_at_work()
        await pilot.press(*keys)
        await until(pilot, started.are_gone, 10)
        assert len(started.all) == 1


async def test_the_job_ends_with_the_app(tmp_path: Path) -> None:
    started = Started()
    app = make_app(tmp_path, recipes=["quickstart"], simulate=started)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: started.all)
        await pilot.press("q")
    for _ in range(40):
        if started.are_gone():
            return
        await pilot.pause(0.05)
    raise AssertionError("an engine is left")


async def test_the_job_ends_with_a_start_that_is_refused(tmp_path: Path) -> None:
    started = Started()
    app = make_app(tmp_path, recipes=[write_recipe("facts.toml")], simulate=started)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: started.all)
        Path("facts.toml").write_text(BROKEN)
        await pilot.press("s")
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        await until(pilot, started.are_gone, 10)
        assert memory(pilot)[0] == "estimated"
        assert not can_start(pilot)


async def test_a_choice_that_is_passed_by_is_not_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_assessment, "_STANDS_S", 5.0)
    started = Started()
    app = make_app(tmp_path, recipes=["quickstart"], simulate=started)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "estimated"))
        await pilot.press("shift+tab")
        for key in ("down", "up", "down"):
            await pilot.press(key)
            await until(pilot, lambda: pilot.app.screen._outcome is not None)
        await until(pilot, lambda: started.all)
        await pilot.pause(3)
        assert len(started.all) == 1


async def test_an_engine_that_dies_leaves_the_estimate(tmp_path: Path) -> None:
    def start(recipe: Recipe, profile: Profile) -> Simulation:
        made = simulation_session.start(recipe, profile)
        os.kill(made._engine.pid, signal.SIGKILL)
        return made

    app = make_app(tmp_path, recipes=["quickstart"], simulate=start)
    async with app.run_test(size=SIZE) as pilot:
        told = "estimated: can't be simulated, the engine ended with exit code -9"
        await until(pilot, lambda: memory(pilot)[0] == told)
        assert can_start(pilot)


async def test_an_engine_that_cannot_be_started_leaves_the_estimate(tmp_path: Path) -> None:
    def start(recipe: Recipe, profile: Profile) -> Simulation:
        raise Refusal.of("/tmp", "no space left on device", "Free some")

    app = make_app(tmp_path, recipes=["quickstart"], simulate=start)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "can't be simulated, no space left on device"))


ANSWER = {
    "source": "simulated", "error": None, "missing": [], "peak_moment": "head backward",
    "allocated_gib": 0.03, "reserved_gib": 0.03, "rows": [{"part": "head", "gib": 0.03}],
}  # fmt: skip


def test_a_simulated_step_has_the_last_word(tmp_path: Path) -> None:
    tight = replace(MACHINE, memory_gib=0.06)
    known = recipe_assessment.of_choice("auto", write_recipe("facts.toml"), tight)
    assert [problem.key for problem in known.problems] == ["memory"]
    less = recipe_assessment.simulated(known, ANSWER)
    assert (less.is_too_large, list(less.problems)) == (False, [])
    more = recipe_assessment.simulated(less, {**ANSWER, "allocated_gib": 0.06})
    assert more.is_too_large
    assert "0.06 of 0.05 GiB usable" in more.problems[0].reason


def test_what_could_not_be_simulated_says_why(tmp_path: Path) -> None:
    known = recipe_assessment.of_choice("auto", write_recipe("facts.toml"), MACHINE)
    told = recipe_assessment.simulated(
        known, {**ANSWER, "source": "unavailable", "error": "KeyError: head"}
    )
    assert told.note == ": can't be simulated, KeyError: head"
    assert told.budget == known.budget
