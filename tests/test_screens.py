"""Every screen but those of runs as a picture, at one of two sizes, or at both.

After a wanted change: `make snapshots`, and look at the pictures.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import staged_playground as recorded_talk
from bench_app import GOOD, MACHINE, lay_down_runs, make_app, until
from msgspec import structs
from pictures import SIZES, Compare, followed, plain_surroundings, pressed, previewed, problems_of
from recording import at_work
from staged_playground import Staged as StagedPlayground
from staged_preview import ANSWER, Staged
from textual.pilot import Pilot

from engine.hardware import profiles
from engine.problems import Problem
from engine.run.rundir import RunDir
from engine.sessions.preview import Refused
from workbench.app import BenchApp
from workbench.screens.playground import PlaygroundScreen
from workbench.widgets.lineinput import LineInput


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain_surroundings(monkeypatch, tmp_path)


@pytest.fixture
def runs() -> Iterator[dict[str, RunDir]]:
    runs = lay_down_runs()
    with at_work(runs["live"]):
        yield runs


@SIZES
def test_setup(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=pressed())


def test_setup_blocked(snap_compare: Compare, tmp_path: Path) -> None:
    app = make_app(tmp_path)
    assert snap_compare(app, terminal_size=(80, 24), run_before=pressed("down"))


@pytest.mark.parametrize(
    ("memory_gib", "size"), [(0.492, (120, 40)), (0.4, (80, 24))], ids=["tight", "over"]
)
def test_setup_at_the_end_of_memory(
    snap_compare: Compare, tmp_path: Path, size: tuple[int, int], memory_gib: float
) -> None:
    app = make_app(tmp_path, machine=replace(MACHINE, memory_gib=memory_gib))
    # On the host, the tables would leave room enough.
    changes = "[model]\nhost_tables = false\n[training]\nper_device_train_batch_size = 32\n"
    Path("facts.toml").write_text(f"{GOOD}\n{changes}")

    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        await until(pilot, lambda: "Looking" not in "".join(problems_of(pilot)))

    assert snap_compare(app, terminal_size=size, run_before=steps)


def test_setup_on_a_card(
    snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    card = replace(profiles.profile("rtx-3060-12gb"), name="auto", reason="NVML names it")
    app = make_app(tmp_path, machine=card, recipes=["gemma4-e2b-lora-sft-korean"])
    assert snap_compare(app, terminal_size=(120, 40), run_before=pressed())


def test_setup_edited(snap_compare: Compare, tmp_path: Path) -> None:
    """A change that is taken, and another that is typed wrongly."""
    keys = ("e", *["down"] * 6, "enter", "backspace", "enter", "down", "enter", "x")
    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=pressed(*keys))


def test_setup_named(snap_compare: Compare, tmp_path: Path) -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        await pilot.press("w", *"facts")

    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=steps)


def test_setup_offers_the_run_at_work(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=pressed())


def test_preview(snap_compare: Compare, tmp_path: Path) -> None:
    app, steps = make_app(tmp_path, staged=(staged := Staged())), previewed(staged, "j", "j")
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps)


def test_preview_of_the_prompt(snap_compare: Compare, tmp_path: Path) -> None:
    app, steps = make_app(tmp_path, staged=(staged := Staged())), previewed(staged, *"jjj2")
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps)


def test_preview_of_the_sources(snap_compare: Compare, tmp_path: Path) -> None:
    staged = Staged(
        structs.replace(ANSWER, template_difference="@@ -1 +1 @@\n-{{ bos }}\n+{{ eos }}")
    )
    app, steps = make_app(tmp_path, staged=staged), previewed(staged, "3", "l")
    assert snap_compare(app, terminal_size=(120, 40), run_before=steps)


def test_preview_without_colour(
    snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app, steps = make_app(tmp_path, staged=(staged := Staged())), previewed(staged, *"jjj")
    assert snap_compare(app, terminal_size=(120, 26), run_before=steps)


def test_preview_on_its_way(snap_compare: Compare, tmp_path: Path) -> None:
    app, steps = make_app(tmp_path, staged=(staged := Staged(is_held=True))), previewed(staged)
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps)


def test_preview_that_is_none(snap_compare: Compare, tmp_path: Path) -> None:
    problem = Problem("data.sources[0].path", "rows.jsonl", "it holds no row", "Put some in")
    staged = Staged(reply=lambda first, rows: Refused(1, "rows.jsonl", (problem,)))
    app = make_app(tmp_path, staged=staged)
    assert snap_compare(app, terminal_size=(80, 24), run_before=previewed(staged))


@SIZES
def test_playground(
    snap_compare: Compare, tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    staged = StagedPlayground(recorded_talk.opening())

    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        run = RunDir(Path("runs/2026-11-21-0931-healthy"))
        screen = PlaygroundScreen(run, staged.start)
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: screen.talk.opened)
        for number, prompt in enumerate(recorded_talk.PROMPTS, 1):
            screen.query_one("#prompt", LineInput).value = prompt
            await pilot.press("enter")
            answers = recorded_talk.answers(number)
            is_last = number == len(recorded_talk.PROMPTS)
            staged.tell(answers[:-9] if is_last else answers)
            await until(pilot, lambda: screen.talk.exchanges[-1].adapter.tokens > 9)
            await until(pilot, lambda is_last=is_last: screen.talk.is_answering is is_last)

    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=steps)


def test_too_small(snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]) -> None:
    app: BenchApp = make_app(tmp_path, runs["healthy"])
    assert snap_compare(app, terminal_size=(50, 12), run_before=followed("done"))
