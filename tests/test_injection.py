"""No text of a run reaches a terminal as anything but text: every field, both front ends."""

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from bench_app import make_app, until
from hostile_fields import event, hostile, lay_down_all, texts
from terminal import Pty
from test_terminal import OWN_SEQUENCE
from textual.widgets import DataTable

from engine.events import KINDS
from engine.run.rundir import RunDir
from tests import command
from workbench.screens.compare import CompareScreen
from workbench.screens.run import RunScreen


def leaks(text: str) -> list[str]:
    """What would steer a terminal, with the text around it, which names its field."""
    return [
        ascii(text[max(0, at - 30) : at + 30])
        for at, char in enumerate(text)
        if char != "\n" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]


def test_every_text_of_every_event_is_among_them() -> None:
    """Those that leaked before, so that the list of fields is known to hold something."""
    known = {place for kind in KINDS for place in texts(kind)}
    leaked = {"hello.version", "phase.name", "plan.device", "plan.dtype", "failed.phase"}
    assert leaked | {"plan.metrics[].title", "plan.reasons key", "resumed.rejected value"} < known
    assert len(known) > 60
    assert leaks(event("hello").version)
    assert leaks(hostile("x"))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunDir]:
    monkeypatch.chdir(tmp_path)
    return lay_down_all(tmp_path / "runs")


def test_lines_into_a_pipe(tmp_path: Path, runs: list[RunDir]) -> None:
    said = ["".join(command.call(tmp_path, "runs")[1:])]
    for run in runs:
        said += command.call(tmp_path, "attach", str(run.path))[1:]
    for words in (["stop"], ["resume"], ["attach"], ["resume", "--branch"]):
        said += command.call(tmp_path, *words, str(runs[0].path))[1:]
    name = hostile("argument")
    for words in (["attach"], ["run"], ["preview"], ["budget"], ["--hardware"]):
        said += command.call(tmp_path, *words, name)[1:]
    said += command.call(tmp_path, "run", "quickstart", "--set", f"training.{name}={name}")[1:]
    assert [leak for text in said for leak in leaks(text)] == []
    assert "hello.version" in "".join(said)


def test_json_keeps_what_it_says(tmp_path: Path, runs: list[RunDir]) -> None:
    _, out, _ = command.call(tmp_path, "attach", "--json", str(runs[0].path))
    assert leaks(out) == []
    lines = runs[0].events.read_bytes().splitlines()
    assert list(map(json.loads, out.split("\n")[:-1])) == list(map(json.loads, lines))
    _, out, _ = command.call(tmp_path, "runs", "--json")
    assert leaks(out) == []
    assert {json.loads(line)["run"] for line in out.splitlines()} == {run.name for run in runs}


def test_a_damaged_line_is_no_way_through_json(tmp_path: Path, runs: list[RunDir]) -> None:
    runs[0].events.write_bytes(b'{"kind": "\x1b]0;owned\x07\xc2\x9b2J\n' * 2)
    _, out, _ = command.call(tmp_path, "attach", "--json", str(runs[0].path))
    assert out.count("owned") == 2
    assert leaks(out) == []


def test_lines_on_a_terminal(tmp_path: Path, runs: list[RunDir]) -> None:
    """Where a progress line is drawn over itself, by codes of our own."""
    program = "import sys; from workbench.cli import main; from workbench.commands import follow; "
    program += "from engine.run.rundir import RunDir; from pathlib import Path; "
    program += "from workbench.text.harmless_output import harmless_output\n"
    program += "with harmless_output(): follow.follow(RunDir(Path(sys.argv[1])), as_json=False)"
    for run in runs:
        with Pty(tmp_path, [sys.executable, "-c", program, str(run.path)]) as terminal:
            terminal.end()
        written = terminal.written.replace(b"\r\x1b[2K", b"").replace(b"\r\n", b"\n")
        assert b"hello.version" in written
        assert leaks(written.decode("utf-8", "surrogateescape")) == []


async def test_the_app(tmp_path: Path, runs: list[RunDir]) -> None:
    found: dict[str, None] = {}
    seen = ""
    async with make_app(tmp_path).run_test(size=(160, 60)) as pilot:

        def look() -> None:
            nonlocal seen
            strips = pilot.app.screen._compositor.render_strips()
            drawn = "\n".join(strip.render(pilot.app.console) for strip in strips)
            text = OWN_SEQUENCE.sub(b"", drawn.encode("utf-8", "surrogatepass"))
            seen += text.decode("utf-8", "surrogatepass")
            found.update(dict.fromkeys(leaks(text.decode("utf-8", "surrogatepass"))))

        await pilot.press("r")
        table = pilot.app.screen.query_one(DataTable)
        await until(pilot, lambda: table.row_count == len(runs))
        look()
        for _ in runs:
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
            await pilot.pause(0.3)
            for key in ("1", "2", "3", "4", "5", "6"):
                await pilot.press(key)
                await pilot.pause(0.05)
                look()
            await pilot.press("escape", "space", "down")
        await pilot.press("c")
        await until(pilot, lambda: isinstance(pilot.app.screen, CompareScreen))
        for key in ("1", "2", "3"):
            await pilot.press(key)
            await pilot.pause(0.1)
            look()
    assert list(found) == []
    assert all(place in seen for place in ("plan.device", "plan.dtype", "failed.phase"))
