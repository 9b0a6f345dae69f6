"""A mouse in a real tmux, byte for byte as a terminal sends it: the wheel, a click, two clicks."""

from pathlib import Path

from recording import lay_down, load
from terminal import APP, Tmux

LEFT, WHEEL_UP, WHEEL_DOWN = 0, 64, 65
RUNS = {"2026-11-21-0930-beta": "healthy", "2026-11-21-0931-alpha": "failed"}


def sgr(screen: str, text: str, *buttons: int) -> list[str]:
    """What a terminal sends for buttons on the first letter of a text, as tmux takes bytes."""
    row, line = next((at, line) for at, line in enumerate(screen.splitlines(), 1) if text in line)
    place = f"{line.index(text) + 1};{row}"
    pressed = (
        f"\x1b[<{button};{place}M" + (f"\x1b[<{button};{place}m" if button == LEFT else "")
        for button in buttons
    )
    return ["-H", *(f"{byte:02x}" for byte in "".join(pressed).encode())]


def test_wheel_click_and_two_clicks(tmp_path: Path) -> None:
    for name, recording in RUNS.items():
        lay_down(tmp_path / "runs", name, load(recording))
    with Tmux(tmp_path, ["env", f"TMPDIR={tmp_path}", *APP], 80, 24) as terminal:
        screen = terminal.until("starts the run")
        assert "gemma4-e4b-qlora-sft" not in screen
        terminal.press(*sgr(screen, "quickstart", *[WHEEL_DOWN] * 40))
        screen = terminal.until("gemma4-e4b-qlora-sft")
        terminal.press(*sgr(screen, "gemma4-e4b-qlora-sft", *[WHEEL_UP] * 40))
        terminal.until("to begin with")
        terminal.press("r")
        terminal.until("2 runs, 0 at work")
        screen = terminal.until("done")
        assert screen.index("alpha") < screen.index("beta")
        terminal.press(*sgr(screen, "state", LEFT))
        terminal.until("by state")
        terminal.press(*sgr(screen, "run   ", LEFT))
        screen = terminal.until("by name")
        assert screen.index("beta") < screen.index("alpha")
        terminal.press(*sgr(screen, "2026-11-21-0930-beta", LEFT, LEFT))
        assert "2026-11-21-0930-beta" in terminal.until("1 charts")
