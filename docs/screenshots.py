"""The pictures of the docs, every screen over recorded runs; `screenshots.py [--check] [NAME]`."""

import asyncio
import html
import os
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "tests"), str(DOCS.parent)]

from bench_app import lay_down_runs, make_app, until  # noqa: E402
from more_runs import many_steps  # noqa: E402
from recording import FORECAST, at_work, lay_down, on_card  # noqa: E402
from staged_playground import PROMPTS, Staged, answers, opening  # noqa: E402
from textual.pilot import Pilot  # noqa: E402
from textual.widgets import DataTable  # noqa: E402

from engine.hardware import profiles  # noqa: E402
from engine.recipe import files  # noqa: E402
from engine.run.rundir import RunDir  # noqa: E402
from workbench.screens.playground import PlaygroundScreen  # noqa: E402
from workbench.widgets.canvas import Canvas  # noqa: E402
from workbench.widgets.lineinput import LineInput  # noqa: E402

SIZE = (120, 40)
_FONT_FACES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""Rich points them at a content delivery network; without them the reader's own font is taken."""
_SETTLE_S = 0.5
_TOLD = 14_000
"""Events that the long run has told so far."""
_MOST_LOOKS = 60
Pictured = Callable[[Pilot[Any]], Awaitable[None]]


async def picture(show: Pictured) -> str:
    """The app's SVG after some keys, in a folder with recorded runs."""
    card = replace(profiles.profile("rtx-3060-12gb"), name="auto", reason="NVML names it")
    runs = lay_down_runs()
    told = on_card(many_steps())[:_TOLD]
    long = lay_down(Path("runs"), "2026-11-21-0934-long", told, forecast=FORECAST)
    app = make_app(Path.cwd(), machine=card, recipes=files.names())
    with at_work(runs["live"]), at_work(long):
        async with app.run_test(size=SIZE) as pilot:
            await _settled(pilot)
            await show(pilot)
            return _FONT_FACES.sub("", await _settled(pilot))


async def _settled(pilot: Pilot[Any]) -> str:
    """The picture once its words stay, however busy the machine is."""
    svg = ""
    for _ in range(_MOST_LOOKS):
        await pilot.pause(_SETTLE_S)
        before, svg = svg, pilot.app.export_screenshot()
        if words(before) == words(svg):
            break
    return svg


async def setup(pilot: Pilot[Any]) -> None:
    """A recipe of the project on a card that it fits."""
    names = list(files.names())
    await pilot.press(*["down"] * names.index("gemma4-e2b-lora-sft-korean"))


async def preview(pilot: Pilot[Any]) -> None:
    """Some row of a preview."""
    await pilot.press("p")
    await until(pilot, lambda: pilot.app.screen.has_class("-answered"))
    await pilot.press("j", "j")


async def run(pilot: Pilot[Any]) -> None:
    """A long run on a card."""
    await _open(pilot, "long")
    await pilot.press("left", *["shift+left"] * 2)


async def samples(pilot: Pilot[Any]) -> None:
    """A run that is at work, and what its adapter answers."""
    await _open(pilot, "live")
    await pilot.press("2")


async def runs(pilot: Pilot[Any]) -> None:
    """The table, some of it marked."""
    await pilot.press("r")
    await until(pilot, lambda: pilot.app.screen.query_one(DataTable).row_count)
    await pilot.press("down", "space", "down", "space", "down", "space")


async def compare(pilot: Pilot[Any]) -> None:
    """Three of them."""
    await runs(pilot)
    await pilot.press("c")
    await until(
        pilot, lambda: pilot.app.screen.query_one("#answers", Canvas).text_rows()[:1] > [""]
    )


async def playground(pilot: Pilot[Any]) -> None:
    """A talk that was recorded."""
    staged = Staged(opening())
    screen = PlaygroundScreen(RunDir(Path("runs/2026-11-21-0931-healthy")), staged.start)
    await pilot.app.push_screen(screen)
    await until(pilot, lambda: screen.talk.opened)
    for number, prompt in enumerate(PROMPTS, 1):
        screen.query_one("#prompt", LineInput).value = prompt
        await pilot.press("enter")
        staged.tell(answers(number))
        await until(pilot, lambda: not screen.talk.is_answering)


async def _open(pilot: Pilot[Any], name: str) -> None:
    await pilot.press("r", "slash", *name, "enter")
    await pilot.pause(_SETTLE_S)
    await pilot.press("enter")
    await pilot.pause(_SETTLE_S)


SCREENS: tuple[Pictured, ...] = (setup, preview, run, samples, runs, compare, playground)


def words(svg: str) -> str:
    """All that stands in a picture but for figures, of which a clock gives some."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return " ".join(re.sub(r"\d[\d.,:]*( [smhd]\b)?", "", html.unescape(" ".join(texts))).split())


def drawn(show: Pictured) -> str:
    """A picture, in surroundings without settings of the user's."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(XDG_DATA_HOME=folder, XDG_CONFIG_HOME=folder)
        os.environ.pop("NO_COLOR", None)
        os.chdir(folder)
        try:
            return asyncio.run(picture(show))
        finally:
            os.chdir(DOCS)


def main() -> int:
    """Draw, or with `--check` name the pictures whose words are no longer the app's."""
    names = [argument for argument in sys.argv[1:] if argument != "--check"]
    stale = []
    for show in SCREENS:
        file = DOCS / f"{show.__name__}.svg"
        if names and show.__name__ not in names:
            continue
        svg = drawn(show)
        if "--check" not in sys.argv:
            file.write_text(svg)
        elif words(svg) != words(file.read_text()):
            stale.append(file.name)
    if stale:
        print(f"{', '.join(stale)}: the app looks otherwise by now. Draw anew: make pictures")
    return len(stale) > 0


if __name__ == "__main__":
    sys.exit(main())
