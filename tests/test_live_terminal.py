"""An evening in a real terminal: choose, start, watch the curve move, quit, come back, stop."""

import time
from pathlib import Path

import pytest
from terminal import APP, Tmux

from engine.run.rundir import RunDir


def curve(screen: str) -> str:
    """The braille of a screen."""
    return "".join(char for char in screen if "\u2800" < char < "\u2900")


@pytest.mark.slow
def test_quickstart_from_choosing_to_stopping(tmp_path: Path) -> None:
    with Tmux(tmp_path, ["env", f"TMPDIR={tmp_path}", *APP], 120, 40) as terminal:
        terminal.until("starts the run")
        terminal.press("s")
        terminal.until(" steps ", patience_s=90)
        terminal.until("sane below", patience_s=60)
        first = terminal.until("token accuracy")
        (run,) = [RunDir(path) for path in tmp_path.glob("runs/*")]
        deadline = time.monotonic() + 60
        while curve(terminal.screen()) == curve(first):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert "GiB free" in terminal.screen()
        terminal.press("q")
        terminal.until("goes on without this window")
        terminal.press("Enter")
        left = terminal.until("left with 0")
        assert f"gemma-bench attach {run.name}" in left
    assert run.is_alive()
    with Tmux(tmp_path, [*APP, "attach", run.name], 80, 24, name="again") as terminal:
        terminal.until("running")
        terminal.press("m", "x")
        terminal.until("Stop this run?")
        terminal.press("Enter")
        terminal.until("stopped and saved", patience_s=60)
        terminal.press("q")
        terminal.until("left with 0")
    assert run.state().name == "stopped"
    assert (run.adapter / "adapter_model.safetensors").exists()
