"""What a pilot does and sees in a playground whose engine was recorded."""

import re
from pathlib import Path
from typing import Any

import pytest
from bench_app import until
from staged_playground import PROMPTS, Staged, answers
from textual.pilot import Pilot

from engine.events import Opened
from engine.run.rundir import RunDir
from workbench.screens.playground import PlaygroundScreen
from workbench.widgets.canvas import Canvas
from workbench.widgets.frame import TitleBar
from workbench.widgets.lineinput import LineInput

SIZE = (80, 24)
SIZES = pytest.mark.parametrize("size", [SIZE, (120, 40)], ids=["80x24", "120x40"])
MARKUP = "[/] [red] [@click=app.quit]x[/] [bold"
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def screen_of(pilot: Pilot[Any]) -> PlaygroundScreen:
    screen = pilot.app.screen
    assert isinstance(screen, PlaygroundScreen)
    return screen


def told(pilot: Pilot[Any], which: str | type[Canvas]) -> str:
    return "\n".join(pilot.app.screen.query_one(which, Canvas).text_rows())


def every_line(pilot: Pilot[Any]) -> list[str]:
    """What the terminal would get of the whole screen, without its styles."""
    return [strip.text for strip in pilot.app.screen._compositor.render_strips()]


def field(pilot: Pilot[Any], key: str) -> LineInput:
    return pilot.app.screen.query_one(f"#{key}", LineInput)


def notes(pilot: Pilot[Any]) -> str:
    return " ".join(f"{note.title} {note.message}" for note in pilot.app._notifications)


async def see(pilot: Pilot[Any], which: str | type[Canvas], text: str) -> None:
    await until(pilot, lambda: text in told(pilot, which))


async def opened(pilot: Pilot[Any], staged: Staged) -> None:
    """A playground in front of the user."""
    await until(pilot, lambda: pilot.app.is_running)
    screen = PlaygroundScreen(RunDir(Path("runs/2026-11-21-0931-healthy")), staged.start)
    await pilot.app.push_screen(screen)
    if any(isinstance(event, Opened) for event in staged._at_first):
        await see(pilot, TitleBar, "ready")


async def typed(pilot: Pilot[Any], text: str) -> None:
    field(pilot, "prompt").value = text
    await pilot.press("enter")


async def asked(pilot: Pilot[Any], staged: Staged, number: int) -> list[Any]:
    """A recorded prompt, sent and answered; what the engine was asked."""
    await typed(pilot, PROMPTS[number - 1])
    wishes = staged.commands()
    staged.tell(answers(number))
    await see(pilot, TitleBar, "ready")
    return wishes
