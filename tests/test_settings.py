"""The user's settings file: keys and colours, and what is wrong with either."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from bench_app import make_app, until
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from tools import write_key_ids
from workbench.app import BenchApp
from workbench.screens.dialogs import NoticeScreen
from workbench.screens.help import HelpScreen
from workbench.screens.keymap import every_key
from workbench.screens.runs import RunsScreen
from workbench.screens.setup import SetupScreen
from workbench.text import saved_theme, settings_file
from workbench.widgets.canvas import Canvas

DOCS = (Path(__file__).parents[1] / "docs/terminal.md").read_text()


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def written(text: str) -> None:
    settings_file.path().parent.mkdir(parents=True)
    settings_file.path().write_text(text)


def lines(pilot: Pilot[Any]) -> str:
    """All that is drawn, on one line."""
    widgets = pilot.app.screen.walk_children(Widget)
    return " ".join(row for one in widgets if isinstance(one, Canvas) for row in one.text_rows())


def test_every_key_has_an_id_and_stands_in_the_docs() -> None:
    assert [place.__name__ for place, binding in every_key(BenchApp) if not binding.id] == []
    assert write_key_ids.page(DOCS) == DOCS, "python -m tools.write_key_ids"


async def test_the_example_of_the_docs_is_used(tmp_path: Path) -> None:
    example = DOCS.partition("```toml\n")[2].partition("```")[0]
    written(example)
    document = tomllib.loads(example)
    assert document["keymap"]["app-quit"] == "Q,ctrl+x"
    app = make_app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.theme == document["theme"] == "nord"
        await until(pilot, lambda: "f5 Start" in lines(pilot))
        await pilot.press("r", "q", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "D del" not in lines(pilot)
        await pilot.press("escape", "Q")
        await until(pilot, lambda: not app.is_running)


async def test_what_is_wrong_is_told_once_and_the_rest_holds(tmp_path: Path) -> None:
    written(
        'theme = "nordd"\nkeymapp = 1\n[keymap]\nruns-delet = "D"\nruns-delete = "contrl+k"\n'
        'runs-copy = "x"\napp-quit = 3\nline-take = "t"\nsetup-start = "shift+a"\nruns-mark = "+"\n'
    )
    app = make_app(tmp_path)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoticeScreen))
        said = " ".join(app._settings.problems)
        assert "keymapp: there is no such setting" in lines(pilot)
        for part in (
            "there is no such theme. Did you mean nord? Known: atom-one-dark",
            "keymapp: there is no such setting. Did you mean keymap? Known: keymap, theme",
            "keymap.runs-delet: no key has that id. Did you mean runs-delete? Known: runs-all, ",
            "there is no key 'contrl+k'. Did you mean ctrl+k?",
            "keymap.runs-copy = 'x': x is runs-stop there. Give runs-stop another key",
            'keymap.app-quit = 3: it is no text. Write it as app-quit = "x"',
            "keymap.line-take = 't': it is typed into the line",
            "keymap.setup-start = 'shift+a': terminals send the character itself. Write 'A'",
        ):
            assert part in said
        assert app.theme == "bench"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        keys = {key: one.binding.id for key, one in app.screen.active_bindings.items()}
        assert keys["plus"] == "runs-mark"
        assert keys["d"] == "runs-delete"
        assert keys["y"] == "runs-copy"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"[keymap\n", "It is no TOML: Expected ']' at the end of a table declaration (at line 1"),
        (b"\xff", "It can't be read"),
        (b"keymap = 3\n", "keymap: it is no table"),
        (b"[keymap]\n'x' = ''\n\"\\u001b[31m\" = 'a'\n", "no key has that id"),
        (b"[keymap]\napp-quit = ''\n", "there is no key ''"),
    ],
)
async def test_a_file_that_is_none_is_told(tmp_path: Path, text: bytes, part: str) -> None:
    written("")
    settings_file.path().write_bytes(text)
    app = make_app(tmp_path)
    async with app.run_test(size=(60, 18)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoticeScreen))
        assert part in " ".join(" ".join(app._settings.problems).split())
        assert "\x1b" not in lines(pilot)
        await pilot.press("escape", "q")
        await until(pilot, lambda: not app.is_running)


async def test_a_theme_of_the_settings_comes_back_which_is_said(tmp_path: Path) -> None:
    written('theme = "nord"\n')
    app = make_app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = "gruvbox"
        await until(pilot, lambda: app._notifications)
        notice = " ".join(one.message for one in app._notifications)
        assert f"{settings_file.path()} has nord back at the next start" in notice
    assert saved_theme.read() == ""


async def test_a_line_is_taken_by_a_key_of_the_keymap(tmp_path: Path) -> None:
    written('[keymap]\nline-take = "ctrl+g"\nline-leave = "f9"\n')
    app = make_app(tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        for key in ("ctrl+g", "f9"):
            await pilot.press("slash", "f")
            await until(pilot, lambda: isinstance(app.focused, Input))
            await pilot.press(key)
            await until(pilot, lambda: not isinstance(app.focused, Input))
