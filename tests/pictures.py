"""What pictures of screens have in common: sizes, surroundings, and ways to a state."""

import os
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from bench_app import until
from staged_preview import Staged
from textual.pilot import Pilot

from workbench.screens.run import RunScreen
from workbench.widgets.canvas import Canvas

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
Steps = Callable[[Pilot[Any]], Awaitable[None]]
Compare = Callable[..., bool]


def plain_surroundings(monkeypatch: pytest.MonkeyPatch, folder: object) -> None:
    """Nothing of the developer's own terminal in the pictures."""
    for name in list(os.environ):
        if name == "NO_COLOR" or (name.startswith("TEXTUAL_") and "SNAPSHOT" not in name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr("pwd.getpwuid", lambda number: SimpleNamespace(pw_name="ada"))
    monkeypatch.setenv("XDG_DATA_HOME", f"{folder}/data")
    monkeypatch.chdir(str(folder))


def pressed(*keys: str) -> Steps:
    """Wait for the setup's verdict, then press keys, and wait for it again."""

    async def steps(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: is_judged(pilot))
        await pilot.press(*keys)
        await until(pilot, lambda: is_judged(pilot))

    return steps


def is_judged(pilot: Pilot[Any]) -> bool:
    rows = problems_of(pilot)
    return bool(rows) and rows[0] not in {"", "checking"}


def problems_of(pilot: Pilot[Any]) -> list[str]:
    return pilot.app.screen.query_one("#problems", Canvas).text_rows()


def followed(state: str, *keys: str) -> Steps:
    """Wait until the run screen has read its run, then press keys."""

    async def steps(pilot: Pilot[Any]) -> None:
        def is_read() -> bool:
            screen = pilot.app.screen
            return isinstance(screen, RunScreen) and screen.latest.state.name == state

        await until(pilot, is_read)
        await until(pilot, lambda: pilot.app.screen.latest.log)
        await pilot.press(*keys)

    return steps


def previewed(staged: Staged, *keys: str) -> Steps:
    """Open the preview, wait for its answer, then press keys."""

    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        await pilot.press("p")
        await until(pilot, lambda: staged.asked and (staged.is_held or not staged.is_waiting))
        await pilot.press(*keys)
        await until(pilot, lambda: staged.is_held or not staged.is_waiting)

    return steps
