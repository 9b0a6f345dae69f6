"""The app in real terminals: what a user sees, what the terminal gets, how it is left."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recording import at_work, lay_down, load, opening, samples
from terminal import APP, Pty, Tmux
from test_plain import HOSTILE

from engine.events import Event, Failed, Step, Warned, encode
from engine.run.rundir import RunDir
from tests import command

NAME = "2026-11-21-0930-live"
RESTORED = (b"\x1b[?1049l", b"\x1b[?1003l", b"\x1b[?25h")
OWN_SEQUENCE = re.compile(
    rb"\x1b\[[0-9;:?>=<]*[$]?[a-zA-Z]"  # colours, positions, modes
    rb"|\x1b[=>78]"
    rb"|\x1b\]22;[a-z-]*\x07"  # the pointer's shape
)
CRASH = """
import sys
from workbench.app import BenchApp
class Broken(BenchApp):
    def on_mount(self):
        token = "hf_" + "secret"
        raise RuntimeError("it broke\\x1b[2J")
app = Broken()
app.run()
sys.exit(app.return_code or 0)
"""

ON_FACTS = """
from workbench.app import BenchApp
from workbench.screens.setup import SetupScreen
app = BenchApp(setup=lambda preview: SetupScreen(preview, recipes=["facts.toml"]))
try:
    app.run()
finally:
    app.preview.close()
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunDir]:
    run = lay_down(tmp_path / "runs", NAME, load("live"))
    with at_work(run):
        yield run


def is_painted(written: bytes) -> bool:
    return b"Quit" in written


def test_start_choose_and_quit(tmp_path: Path) -> None:
    with Tmux(tmp_path, APP, 100, 30) as terminal:
        screen = terminal.until("starts the run")
        assert "quickstart" in screen
        assert "hardware" in screen
        terminal.press("r")
        terminal.until("no run yet")
        terminal.press("n")
        terminal.until("quickstart")
        terminal.press("q")
        assert "hardware" not in terminal.until("left with 0")


def test_preview_of_what_will_be_trained_on(tmp_path: Path) -> None:
    colourless = ["env", "NO_COLOR=1", f"TMPDIR={tmp_path}", *APP]
    with Tmux(tmp_path, colourless, 120, 40) as terminal:
        terminal.until("p shows its rows")
        terminal.press("p")
        screen = terminal.until("row 1 of 255", patience_s=60)
        assert "kushan.jsonl:1\n" in screen
        assert "prompt is a prefix: yes" in screen
        assert "\u27e6Kujula Kadphises founded the Kushan Empire.<turn|>\u21b5\u27e7" in screen
        terminal.press("j")
        assert "kushan.jsonl:2\n" in terminal.until("row 2 of 255")
        terminal.press("End")
        terminal.until("kushan.jsonl:255\n")
        assert [*tmp_path.glob("gemma-bench-preview-*")]
        terminal.press("Escape")
        terminal.until("p shows its rows")
        terminal.press("q")
        terminal.until("left with 0")
    assert not [*tmp_path.glob("gemma-bench-preview-*")]


def test_attach_quit_and_come_back(tmp_path: Path, live: RunDir) -> None:
    with Tmux(tmp_path, [*APP, "attach", NAME], 120, 40) as terminal:
        assert "90 of 240" in terminal.until("Kujula Kadphises")
        terminal.press("q")
        terminal.until("goes on")
        terminal.press("Enter")
        left = terminal.until("left with 0")
        assert f"gemma-bench attach {NAME}" in left
    assert live.is_alive()


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["120x40", "80x24"])
def test_what_changed_cells_leave_equals_a_whole_paint(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    run = lay_down(tmp_path / "runs", NAME, load("healthy")[:20])
    attach = [*APP, "attach", NAME]
    with at_work(run), Tmux(tmp_path, attach, *size) as terminal:
        terminal.until("running")
        more = load("healthy")[20:200]
        for start in range(0, len(more), 20):
            with run.events.open("ab") as file:
                file.writelines(map(encode, more[start : start + 20]))
            with run.log.open("a") as log:
                log.write(f"line {start} \u2502 \ud55c\uad6d\uc5b4 {'x' * (start % 50)}\n")
            last = max(event.step for event in more[: start + 20] if isinstance(event, Step))
            terminal.until(f"{last} of 240")
        time.sleep(1)
        grown = terminal.screen()
        with Tmux(tmp_path, attach, *size, name="other") as fresh:
            fresh.until(f"{last} of 240")
            fresh.until("\u28c0")
            time.sleep(1)
            assert grown == fresh.screen()


def test_a_small_terminal_is_told(tmp_path: Path) -> None:
    with Tmux(tmp_path, APP, 50, 12) as terminal:
        assert "quickstart" not in terminal.until("needs 60 x 18")
        terminal.resize(80, 24)
        terminal.until("quickstart")
        terminal.press("q")
        terminal.until("left with 0")


def test_ctrl_z_gives_the_shell_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    with Tmux(tmp_path, ["env", "PS1=ready:", "bash", "--norc"], 80, 24) as terminal:
        terminal.press(subprocess.list2cmdline(APP), "Enter")
        terminal.until("quickstart")
        terminal.press("C-z")
        terminal.until("Stopped")
        terminal.press("fg", "Enter")
        terminal.until("quickstart")
        terminal.press("C-c")
        command.wait(lambda: terminal.screen().rstrip().endswith("ready:"))
        terminal.press("echo the code is $?", "Enter")
        terminal.until("the code is 0")


def test_the_kernels_console_gets_ascii_marks(tmp_path: Path, live: RunDir) -> None:
    with Pty(tmp_path, [*APP, "attach", NAME], TERM="linux") as terminal:
        terminal.until(lambda written: b"90 of 240" in written)
        assert not re.search("[\u2801-\u28ff]", terminal.written.decode())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_gives_the_terminal_back(tmp_path: Path, number: int, code: int) -> None:
    with Pty(tmp_path, APP, TMPDIR=str(tmp_path)) as terminal:
        terminal.until(is_painted)
        terminal.until(lambda _: [*tmp_path.glob("gemma-bench-preview-*")])
        os.kill(terminal.pid, number)
        assert terminal.end() == code
        assert all(sequence in terminal.written for sequence in RESTORED)
    assert not [*tmp_path.glob("gemma-bench-preview-*")]


def test_a_dropped_line_ends_it(tmp_path: Path, live: RunDir) -> None:
    with Pty(tmp_path, [*APP, "attach", NAME]) as terminal:
        terminal.until(lambda written: b"90 of 240" in written)
        terminal.hang_up()
        assert terminal.end() == 129
    assert live.is_alive()


def test_a_bad_byte_is_survived(tmp_path: Path) -> None:
    with Pty(tmp_path, APP) as terminal:
        terminal.until(is_painted)
        terminal.press(b"\xff\xc3(")
        terminal.read(0.3)
        terminal.press(b"r")
        terminal.until(lambda written: b"no run yet" in written)
        terminal.press(b"q")
        assert terminal.end() == 0


def test_pastes_and_storms_are_survived(tmp_path: Path) -> None:
    """A pasted page, and a window that is dragged about: the app draws, and goes when asked to."""
    with Pty(tmp_path, APP) as terminal:
        terminal.until(is_painted)
        terminal.press(b"/")
        terminal.press(b"\x1b[200~" + b"word " * 600 + b"\x1b[201~")
        for turn in range(60):
            terminal.resize(20 + turn * 7 % 180, 4 + turn * 5 % 60)
            terminal.press(b"\x1b[A\x1b[B")
            terminal.read(0.01)
        terminal.read(1.0)
        seen = len(terminal.written)
        terminal.resize(120, 40)
        terminal.until(lambda written: len(written) > seen + 1000)
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.end() == 143
        assert all(sequence in terminal.written[seen:] for sequence in RESTORED)


def test_a_line_that_stalls_holds_nothing_up(tmp_path: Path) -> None:
    """Nobody reads for eight seconds; what was told meanwhile is there soon after."""
    run = lay_down(tmp_path / "runs", NAME, load("healthy")[:20])
    with at_work(run), Pty(tmp_path, [*APP, "attach", NAME]) as terminal:
        terminal.until(lambda written: b"running" in written)
        for event in load("healthy")[20:160]:
            with run.events.open("ab") as file:
                file.write(encode(event))
            time.sleep(8 / 140)
        seen = len(terminal.written)
        last = max(event.step for event in load("healthy")[:160] if isinstance(event, Step))
        terminal.until(lambda written: f"{last} of 240".encode() in written[seen:])
        assert run.is_alive()


@pytest.mark.parametrize("size", [(120, 40), (80, 24)], ids=["all panes", "one pane"])
def test_hostile_text_never_reaches_the_terminal(tmp_path: Path, size: tuple[int, int]) -> None:
    run = lay_down(tmp_path / "runs", NAME, hostile(), "".join(HOSTILE.values()) + "\n[/]\n")
    with at_work(run), Pty(tmp_path, [*APP, "attach", NAME]) as terminal:
        terminal.resize(*size)
        terminal.until(lambda written: b"samples" in written)
        for key in (b"1", b"2", b"3", b"4", b"\x1b"):
            terminal.press(key)
            terminal.read(0.5)
        terminal.press(b"q")
        terminal.read(0.5)
        terminal.press(b"\r")
        assert terminal.end() == 0
    assert foreign(terminal.written) == []


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}], ids=["colour", "no colour"])
def test_hostile_rows_never_reach_the_terminal(tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "entry.py").write_text(ON_FACTS)
    (tmp_path / "facts.toml").write_text(
        '[data]\nsources = [{ path = "rows\\u001b[2J\\u202e{red}.jsonl" }]\n'
    )
    talks = [
        [{"role": role, "content": f"{payload} [/] [@click=app.quit]x[/]"} for role in roles]
        for payload in HOSTILE.values()
        for roles in (("user", "assistant"), ("\x1b]0;owned\x07", "assistant"))
    ]
    lines = "".join(json.dumps({"messages": talk}) + "\n" for talk in talks)
    (tmp_path / "rows\x1b[2J\u202e{red}.jsonl").write_text(lines)
    with Pty(tmp_path, [sys.executable, "entry.py"], TMPDIR=str(tmp_path), **more) as terminal:
        terminal.until(lambda written: b"p shows its rows" in written)
        terminal.press(b"p")
        terminal.until(lambda written: b"trained on" in written)
        for key in (b"j" * 30, b"\x1b[F", b"k" * 5, b"\t", b"\t", b"\x1b[F"):
            terminal.press(key)
            terminal.read(0.3)
        terminal.press(b"q")
        assert terminal.end() == 0
    assert foreign(terminal.written) == []
    assert "\u241b[2J" in terminal.written.decode()


def test_a_crash_tells_no_secret(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    (tmp_path / "entry.py").write_text(CRASH)
    with Pty(
        tmp_path, [sys.executable, "entry.py"], XDG_STATE_HOME=state, HF_TOKEN="hf_hidden"
    ) as terminal:
        assert terminal.end() == 1
        terminal.read(0.2)
    assert b"it broke\xe2\x90\x9b[2J" in terminal.written
    crash = tmp_path / "state/gemma-bench/crash.log"
    assert b"crash.log" in terminal.written
    assert "it broke" in crash.read_text()
    assert oct(crash.stat().st_mode & 0o777) == "0o600"
    for told in (terminal.written, crash.read_bytes()):
        assert b"hf_secret" not in told
        assert b"hf_hidden" not in told


def hostile() -> list[Event]:
    """A run in which every text comes from somebody who means harm."""
    text = " ".join(HOSTILE.values()) + " [/] [red] [@click=app.quit]x[/]"
    return [
        *opening(100),
        Warned(code="x", message=text, fix=text),
        *samples(1, (text, text)),
        Failed(phase=text, error=text, hint=text, log=text),
    ]


def foreign(written: bytes) -> list[str]:
    """Control and invisible characters that the app itself has no use for."""
    rest = OWN_SEQUENCE.sub(b"", written).decode("utf-8", "surrogateescape")
    return sorted({
        ascii(rest[max(0, at - 20):at + 20])
        for at, char in enumerate(rest)
        if (ord(char) < 32 and char not in "\r\n")
        or 127 <= ord(char) < 160
        or 0xD800 <= ord(char) < 0xE000
        or char in "\u202e\u2066\u2069\u200b\u200f\u061c\ufeff\u2028\u2029\U000e0041"
    })  # fmt: skip
