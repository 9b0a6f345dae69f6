"""Keys that a text names are those of the user's keymap, on every screen."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_app import lay_down_runs, make_app, until
from test_preview_screen import enabled
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import DataTable, Input, Static

from engine.run.rundir import RunDir
from workbench.app import BenchApp
from workbench.screens.compare import CompareScreen
from workbench.screens.dialogs import ConfirmScreen, NamingScreen, NoticeScreen, UseItScreen
from workbench.screens.help import HelpScreen
from workbench.screens.keymap import every_key
from workbench.screens.playground import PlaygroundScreen
from workbench.screens.preview import PreviewScreen
from workbench.screens.rows import RowsScreen
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.screens.setup import SetupScreen
from workbench.sessions.engine_session import Playground
from workbench.text import settings_file
from workbench.widgets.canvas import Canvas
from workbench.widgets.frame import DisabledActions, KeyLine
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput

EVERY = every_key(BenchApp)
IDS = sorted({one.binding.id or "" for one in EVERY})
IN_LINES = {one.binding.id for one in EVERY if issubclass(one.place, Input)}
NEW = {
    id: f"f{13 + at}" if (at := sorted(IN_LINES).index(id) if id in IN_LINES else -1) >= 0
    else chr(0x400 + IDS.index(id))
    for id in IDS
}  # fmt: skip
"""Another key for each id: a function key for those of a line, else a Cyrillic letter."""
LETTERS, WORDS = (
    "bcdeghijklmnopqrtuvwy1234/?↓↑←→⏎",
    ("enter", "escape", "esc", "tab", "space", "f1"),
)
NAMED = re.compile(
    rf"(?<![\w'./^+-])(?:[{re.escape(LETTERS)}](?= \w\w|[:,])|(?:{'|'.join(WORDS)})(?![\w'./=+-]))"
)
"""Where a text may name a key of before. `a`, `s` and `x` are words too: their texts are below."""
FIGURES = re.compile(r"\b[a-z] +\d+|\d[\d.,]* ?[\w%]*|\w+ = .*|'[^']*'")


def written(keymap: dict[str, str]) -> None:
    settings_file.path().parent.mkdir(parents=True)
    lines = (f'"{id}" = "{key}"\n' for id, key in keymap.items())
    settings_file.path().write_text("[keymap]\n" + "".join(lines))


def texts(screen: Screen[Any]) -> Iterator[str]:
    """What stands on a screen, and what its keys would say that can't be used."""
    for widget in [screen, *screen.walk_children(Widget)]:
        yield f"{widget.border_title or ''} {widget.border_subtitle or ''}"
        if isinstance(widget, Canvas):
            yield from widget.text_rows()
        if isinstance(widget, Static):
            yield str(widget.render())
        if isinstance(widget, Input):
            yield widget.placeholder
        if isinstance(widget, DisabledActions):
            yield from map(widget.disabled_reason, {one.binding.action for one in EVERY})
    yield from (notice.message for notice in screen.app._notifications)


def unstarted(run: RunDir) -> Playground:
    """Start a playground where none can be."""
    raise OSError(f"{run.name}: no such file")


async def pressed(pilot: Pilot[Any], *ids: str) -> None:
    """Press the moved keys of some bindings."""
    for id in ids:
        await pilot.press(NEW[id])
        await pilot.pause()


async def arrived(pilot: Pilot[Any], kind: type[Screen[Any]]) -> str:
    """All texts of a screen once it is there; none of them names a key of before."""
    await until(pilot, lambda: isinstance(pilot.app.screen, kind))
    for text in (every := [*texts(pilot.app.screen)]):
        told = NAMED.search(FIGURES.sub("", text))
        assert told is None, f"{kind.__name__} names {told}: {text}"
    return "\n".join(every)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, RunDir]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lay_down_runs()


async def test_no_screen_names_a_key_that_was_moved(
    runs: dict[str, RunDir], tmp_path: Path
) -> None:
    written(NEW)
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "start" in enabled(pilot))
        setup = await arrived(pilot, SetupScreen)
        assert f"{NEW['setup-start']} starts the run, {NEW['setup-preview']} shows" in setup
        assert f"{NEW['setup-filter']} filters" in setup
        await pressed(pilot, "setup-edit")
        editing = await arrived(pilot, SetupScreen)
        assert f"Leave the keys first, with {NEW['keys-back']}" in editing
        assert f"{NEW['keys-edit']} types one" in editing
        await pressed(pilot, "list-down", "list-down")
        turns = f"{NEW['keys-value-before']} {NEW['keys-next-value']} change it"
        assert turns in await arrived(pilot, SetupScreen)
        await pressed(pilot, "keys-save")
        take, leave = NEW["line-take"], NEW["line-leave"]
        assert f"{take}  save      {leave}  cancel" in await arrived(pilot, NamingScreen)
        await pressed(pilot, "line-leave", "keys-back", "setup-data")
        assert f"{NEW['path-complete']} completes" in await arrived(pilot, RowsScreen)
        await pressed(pilot, "line-leave", "app-help")
        assert f"{leave} leaves" in await arrived(pilot, HelpScreen)
        await pressed(pilot, "line-leave", "setup-preview")
        await arrived(pilot, PreviewScreen)
        await pressed(pilot, "preview-leave")
        await pilot.press("s")
        assert f"{NEW['app-help']} lists the keys" in await arrived(pilot, SetupScreen)


async def test_no_screen_of_runs_does(runs: dict[str, RunDir], tmp_path: Path) -> None:
    written(NEW)
    async with make_app(tmp_path, recipes=["quickstart"]).run_test(size=(80, 24)) as pilot:
        await pressed(pilot, "app-runs")
        await until(pilot, lambda: pilot.app.screen.query_one(DataTable).row_count == len(runs))
        assert f"runs first, with {NEW['runs-mark']}" in await arrived(pilot, RunsScreen)
        await pressed(pilot, "runs-delete")
        agree, decline = NEW["confirm-agree"], NEW["confirm-decline"]
        assert f"{agree}  delete      {decline}  keep" in await arrived(pilot, ConfirmScreen)
        await pressed(pilot, "confirm-decline", "runs-mark")
        await pilot.press("down")
        await pressed(pilot, "runs-mark", "runs-compare")
        await arrived(pilot, CompareScreen)
        await pressed(pilot, "compare-leave", "runs-all")
        pilot.app.open_run(runs["healthy"])  # type: ignore[attr-defined]
        assert f"{NEW['pane-2']} samples" in await arrived(pilot, RunScreen)
        for screen in (UseItScreen([], ""), NoticeScreen("Title", ["Notice"])):
            await pilot.app.push_screen(screen)
            await arrived(pilot, type(screen))
            await pressed(pilot, "use-leave" if isinstance(screen, UseItScreen) else "notice-leave")
        await pilot.app.push_screen(PlaygroundScreen(runs["died"], unstarted))
        again = f"Leave with {NEW['play-leave']} and open it again"
        await until(pilot, lambda: again in "\n".join(texts(pilot.app.screen)))
        await arrived(pilot, PlaygroundScreen)


async def test_keys_are_named_as_they_are_typed(runs: dict[str, RunDir], tmp_path: Path) -> None:
    """Those of the example in the docs among them; the first of two."""
    written({"app-quit": "Q,ctrl+x", "setup-start": "f5", "list-down": "ctrl+j", "line-take": "f2"})
    app = make_app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "f5 starts the run" in "\n".join(texts(app.screen)))
        assert key_name(app, BenchApp, "app-quit") == "Q"
        assert key_name(app, BenchApp, "app-find") == "^p"
        assert key_name(app, SetupScreen, "setup-filter") == "/"
        assert key_name(app, LineInput, "line-take") == "f2"
        assert key_name(app, LineInput, "line-leave") == "escape"
        with pytest.raises(KeyError):
            key_name(app, LineInput, "app-quit")


async def test_keys_of_use_come_first_where_not_all_fit(
    runs: dict[str, RunDir], tmp_path: Path
) -> None:
    """Of a run that is over, that is the way back, and not what its engine would hear."""
    async with make_app(tmp_path, runs["healthy"]).run_test(size=(60, 18)) as pilot:
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        line = pilot.app.screen.query_one(KeyLine)
        await until(pilot, lambda: "Back" in line.text_rows()[0])
        await until(pilot, lambda: "x Stop" in line.text_rows()[0])
        keys = line.text_rows()[0]
        assert keys.index("esc Back") < keys.index("q Quit") < keys.index("x Stop")
        assert "f1 Help" in keys
