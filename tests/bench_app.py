"""The app as tests start it: a fixed machine, recipes of their own, recorded runs."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recording import end, lay_down, load
from staged_preview import Staged, warm
from textual.pilot import Pilot

from engine.hardware.profiles import Profile
from engine.run.rundir import RunDir
from workbench.app import BenchApp
from workbench.screens.setup import SetupScreen
from workbench.sessions.prestarted_preview import PrestartedPreview

MACHINE = Profile(
    "auto", "CPU, 2 cores", "cpu", 8.0, 0.85, False, "no NVIDIA driver: no library of that name"
)
PROFILES = ("auto", "rtx-3060-12gb", "rtx-4090", "h100-80gb")
GOOD = """# Teach a small Gemma a few facts.

[data]
sources = [{ path = "rows.jsonl" }]

[samples]
prompts = ["Who founded the Kushan Empire?"]
"""
BROKEN = """# Several mistakes at once.

[adapter]
r = 0

[data]
sources = [{ path = "rows.jsonl" }]

[training]
learning_rat = 2e-4
"""
LOG = "Loading the model\n\x1b[32mReady\x1b[0m\n 10 %\r 50 %\r100 %\nTraining on 250 rows\n"


def write_recipes(folder: Path) -> tuple[str, ...]:
    """Two recipes and their rows; their names as the setup takes them."""
    (folder / "rows.jsonl").write_text('{"messages": []}\n')
    (folder / "facts.toml").write_text(GOOD)
    (folder / "mistaken.toml").write_text(BROKEN)
    return "facts.toml", "mistaken.toml"


def make_app(
    folder: Path,
    attach: RunDir | None = None,
    staged: Staged | None = None,
    *,
    machine: Profile = MACHINE,
    recipes: Sequence[str] | None = None,
) -> BenchApp:
    """An app in a folder that is the current one; its preview has no engine."""
    names = write_recipes(folder) if recipes is None else recipes
    held = warm(staged or Staged())

    def setup(preview: PrestartedPreview) -> SetupScreen:
        return SetupScreen(preview, lambda: machine, PROFILES, names)

    return BenchApp(attach, setup, held)


def lay_down_runs() -> dict[str, RunDir]:
    """A run per recording, below the current folder; the live one needs its lock held."""
    runs = {
        name: lay_down(Path("runs"), f"2026-11-21-09{minute}-{name}", load(name), LOG)
        for minute, name in enumerate(("live", "healthy", "failed", "died"), 30)
    }
    end(runs["died"], signal=9)
    return runs


async def until(pilot: Pilot[Any], is_so: Callable[[], Any], patience_s: float = 60) -> None:
    """Let the app work until something is so."""
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        await pilot.pause(0.05)
    await pilot.pause()
