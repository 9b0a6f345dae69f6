"""Every screen on every kind of terminal: what is written there, whatever a run's files say."""

import base64
import itertools
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from recording import at_work, end, lay_down, load
from terminal import APP, Pty
from test_plain import HOSTILE
from test_terminal import NAME, OWN_SEQUENCE, foreign, hostile, is_painted

from engine.run.rundir import RunDir
from workbench.text import terminal as kinds

TERMINALS = ("linux", "xterm", "xterm-256color", "screen-256color", "tmux-256color", "screen")
COPIED = re.compile(rb"\x1b\]52;c;([^\x07]*)\x07")
"""What the app asks the terminal to put into the clipboard."""
TEXT = " ".join(HOSTILE.values()) + " [/] [red] [/path] [@click=app.quit]x[/] ]]"


def lay_down_hostile(folder: Path) -> list[RunDir]:
    """Two runs whose every file was written by somebody who means harm."""
    runs = [lay_down(folder / "runs", f"2026-11-21-093{at}-evil", hostile()) for at in range(2)]
    for at, run in enumerate(runs):
        recipe = {"model": {"path": TEXT}, TEXT: {"\x1b[2J": at}}
        run.request.write_text(json.dumps({"name": TEXT, "recipe": recipe}))
        run.write_plan({"plan": {"total_steps": TEXT}})
    return runs


def pressed(terminal: Pty, *keys: bytes) -> None:
    for key in keys:
        terminal.press(key)
        terminal.settle(0.4)


def test_hostile_runs_beside_each_other(tmp_path: Path) -> None:
    lay_down_hostile(tmp_path)
    evil = tmp_path / "runs" / "2026-11-21-0940-\x1b[2J[red]\u202e"
    lay_down(tmp_path / "runs", evil.name, load("live"))
    end(RunDir(evil), signal=9)
    with Pty(tmp_path, APP) as terminal:
        terminal.until(is_painted)
        pressed(terminal, b"r")
        terminal.until(lambda written: b"evil" in written)
        pressed(terminal, b"y", b"/", b"evil \x1b[200~\x1b]0;owned\x07\xff[/]\x1b[201~", b"\x1b")
        pressed(terminal, b" ", b"j", b"\x1b[B", b" ", b"\x1b[B", b" ", b"d", b"\x1b")
        pressed(terminal, b"c")
        terminal.until(lambda written: b"compare" in written)
        pressed(terminal, b"2", b"3", b"1", b"\x10", b"zoom", b"\x1b", b"\x0f", b"a", b"\x1b")
        pressed(terminal, b"q")
        assert terminal.end() == 0
    (copied,) = COPIED.findall(terminal.written)
    assert base64.b64decode(copied).decode().startswith(str(tmp_path))
    assert foreign(COPIED.sub(b"", terminal.written)) == []


def test_hostile_recipes_are_listed_and_edited(tmp_path: Path) -> None:
    (tmp_path / "aa\x1b[2J[red]\u202e.toml").write_text(
        "[data]\nsources = []\n# \x1b]0;owned\x07\n"
    )
    (tmp_path / "ab.toml").write_text(
        f"# {TEXT.encode('unicode-escape').decode()} [/] [red] \u202e\n"
        "[model]\n# [@click=app.quit]x[/] \u202e\u200b\n"
        f"path = {json.dumps(TEXT)}\n[data]\nsources = [{{ path = {json.dumps(TEXT)} }}]\n"
    )
    with Pty(tmp_path, APP) as terminal:
        terminal.until(lambda written: b"ab.toml" in written)
        for _ in range(4):
            pressed(terminal, b"\x1b[B", b"e", b"j", b"\r", b"\x1b", b"\x1b", b"w", b"\x1b")
        pressed(terminal, b"s", b"p", b"/a[", b"\x1b", b"?", b"\x1b", b"q")
        assert terminal.end() == 0
    assert foreign(terminal.written) == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "size"), [*zip(TERMINALS, itertools.cycle([(120, 40), (80, 24)]))], ids=TERMINALS
)
def test_kinds_of_terminals(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    run = lay_down(tmp_path / "runs", NAME, load("live"))
    with at_work(run), Pty(tmp_path, [*APP, "attach", NAME], TERM=name, COLORTERM="") as terminal:
        terminal.resize(*size)
        terminal.until(lambda written: b"90 of 240" in written)
        pressed(terminal, b"+", b"\x1b[D", b"2", b"r", b"n")
        terminal.until(lambda written: b"quickstart" in written)
        pressed(terminal, b"q", b"\r")
        assert terminal.end() == 0
    assert foreign(terminal.written) == []
    assert b"38;2;" not in terminal.written
    assert (b"38;5;" in terminal.written) == name.endswith("256color")


def test_a_terminal_without_utf8_gets_ascii(tmp_path: Path) -> None:
    run = lay_down(tmp_path / "runs", NAME, [*load("live"), *hostile()], "한국어 é …\n")
    with at_work(run), Pty(tmp_path, [*APP, "attach", NAME], LC_ALL="C") as terminal:
        terminal.until(lambda written: b"Quit" in written and b"step" in written)
        pressed(terminal, b"2", b"4", b"\x10", b"\x1b", b"r", b"n")
        terminal.until(lambda written: b"quickstart" in written)
        pressed(terminal, b"q", b"\r")
        assert terminal.end() == 0
    shown = OWN_SEQUENCE.sub(b"", terminal.written)
    assert shown.isascii()
    assert b"+- loss -" in shown
    assert b"??????" in shown


@pytest.mark.parametrize(
    ("locale", "is_utf8"),
    [
        ({"LC_ALL": "C"}, False),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, False),
        ({"LC_CTYPE": "ko_KR.utf8"}, True),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
        ({"LC_ALL": "", "LANG": "C.UTF-8"}, True),
        ({}, True),
    ],
)
def test_the_locale_tells_what_a_terminal_takes(
    locale: dict[str, str], is_utf8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    assert kinds.takes_utf8() == is_utf8


def test_no_colour_at_all(tmp_path: Path) -> None:
    run = lay_down(tmp_path / "runs", NAME, load("live"))
    with at_work(run), Pty(tmp_path, [*APP, "attach", NAME], NO_COLOR="1") as terminal:
        terminal.until(lambda written: b"90 of 240" in written)
        pressed(terminal, b"2", b"r", b"q", b"\r")
        assert terminal.end() == 0
    for red, green, blue in re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.written):
        assert red == green == blue


@pytest.mark.parametrize(
    "keys", [b"", b"r", b"rc", b"p", b"?"], ids=["setup", "runs", "", "p", "?"]
)
def test_a_line_that_drops_ends_the_app_on_every_screen(tmp_path: Path, keys: bytes) -> None:
    lay_down(tmp_path / "runs", NAME, load("healthy"))
    with Pty(tmp_path, APP, TMPDIR=str(tmp_path)) as terminal:
        terminal.until(is_painted)
        pressed(terminal, *(bytes([key]) for key in keys))
        terminal.hang_up()
        assert terminal.end() == 129


def wait(is_so: Callable[[], bool], patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def num_steps(run: RunDir) -> int:
    return run.events.read_bytes().count(b'"kind": "step"')


@pytest.mark.slow
def test_a_run_goes_on_when_the_line_drops(tmp_path: Path) -> None:
    with Pty(tmp_path, APP, TMPDIR=str(tmp_path)) as terminal:
        terminal.until(lambda written: b"starts the run" in written)
        pressed(terminal, b"s")
        wait(lambda: any(tmp_path.glob("runs/*/events.jsonl")))
        run = RunDir(next(tmp_path.glob("runs/*")))
        wait(lambda: num_steps(run) >= 2)
        terminal.hang_up()
        assert terminal.end() == 129
    seen = num_steps(run)
    wait(lambda: num_steps(run) >= seen + 5)
    assert run.is_alive()
    run.ask("stop", "a test")
    wait(lambda: not run.is_alive())
    assert json.loads(run.events.read_bytes().splitlines()[-1])["stopped_by"] == "a test"
