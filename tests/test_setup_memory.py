"""The setup's memory pane on the real ledger."""

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
from engine.run import runs
from workbench.screens.run import RunScreen
from workbench.widgets.canvas import Canvas

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)


def memory(pilot: Pilot[Any]) -> list[str]:
    return pilot.app.screen.query_one("#budget", Canvas).text_rows()


def shows(pilot: Pilot[Any], text: str) -> Callable[[], bool]:
    return lambda: text in " ".join(memory(pilot))


def verdict(pilot: Pilot[Any]) -> str:
    return " ".join(pilot.app.screen.query_one("#problems", Canvas).text_rows())


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
    async with make_app(tmp_path, recipes=[name]).run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "not known: 'google/gemma-9-xs-it' is no Gemma"))
        assert can_start(pilot)


async def test_a_recipe_with_mistakes_has_no_memory_pane(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "it fits"))
        await pilot.press("down")
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        assert not pilot.app.screen.query_one("#budget", Canvas).display


async def test_a_start_that_is_refused_leaves_the_estimate(tmp_path: Path) -> None:
    app = make_app(tmp_path, recipes=[write_recipe("facts.toml")])
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "it fits"))
        Path("facts.toml").write_text(BROKEN)
        await pilot.press("s")
        await until(pilot, lambda: "2 problems" in verdict(pilot))
        assert memory(pilot)[0] == "estimated"
        assert not can_start(pilot)


async def test_a_run_takes_the_figures_that_were_shown(tmp_path: Path) -> None:
    app = make_app(tmp_path, machine=profiles.profile("auto"), recipes=["quickstart"])
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, shows(pilot, "it fits"))
        budget = pilot.app.screen._outcome.forecast.budget
        await pilot.press("s")
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        (run,) = runs.every()
        assert run.read_request().forecast == json.loads(json.dumps(budget.as_dict()))
        await until(pilot, run.events.exists)
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(run.events.read_bytes().splitlines()[0])["pid"], signal.SIGKILL)
