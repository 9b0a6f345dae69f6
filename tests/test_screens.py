"""Every screen as a picture, at two sizes, from recorded runs.

After a wanted change: `pytest tests/test_screens.py --snapshot-update`, and look at the pictures.
"""

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import staged_playground as recorded_talk
from bench_app import LOG, MACHINE, lay_down_runs, make_app, until, write_recipes
from more_runs import STATES
from recording import FORECAST, at_work, compared, lay_down, load, on_card
from staged_playground import Staged as StagedPlayground
from staged_preview import ANSWER, Staged
from textual.pilot import Pilot

from engine import hardware
from engine.events import Step
from engine.preview import Broken, Refused
from engine.refusal import Problem
from engine.rundir import RunDir
from workbench.app import BenchApp
from workbench.screens.compare import CompareScreen
from workbench.screens.playground import PlaygroundScreen
from workbench.screens.run import RunScreen
from workbench.widgets.lineinput import LineInput
from workbench.widgets.problems import Problems

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
Steps = Callable[[Pilot[Any]], Awaitable[None]]
Compare = Callable[..., bool]


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own terminal in the pictures."""
    for name in list(os.environ):
        if name == "NO_COLOR" or (name.startswith("TEXTUAL_") and "SNAPSHOT" not in name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs() -> Iterator[dict[str, RunDir]]:
    runs = lay_down_runs()
    with at_work(runs["live"]):
        yield runs


def pressed(*keys: str) -> Steps:
    """Wait for the setup's verdict, then press keys, and wait for it again."""

    async def steps(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: is_judged(pilot))
        await pilot.press(*keys)
        await until(pilot, lambda: is_judged(pilot))

    return steps


def is_judged(pilot: Pilot[Any]) -> bool:
    rows = problems_of(pilot)
    return bool(rows) and rows[0] not in {"", "checking"}


def problems_of(pilot: Pilot[Any]) -> list[str]:
    return pilot.app.screen.query_one(Problems).text_rows()


def followed(state: str, *keys: str) -> Steps:
    """Wait until the run screen has read its run, then press keys."""

    async def steps(pilot: Pilot[Any]) -> None:
        def is_read() -> bool:
            screen = pilot.app.screen
            return isinstance(screen, RunScreen) and screen.latest.state.name == state

        await until(pilot, is_read)
        await until(pilot, lambda: pilot.app.screen.latest.log)
        await pilot.press(*keys)

    return steps


def previewed(staged: Staged, *keys: str) -> Steps:
    """Open the preview, wait for its answer, then press keys."""

    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        await pilot.press("p")
        await until(pilot, lambda: staged.asked and (staged.is_held or not staged.is_waiting))
        await pilot.press(*keys)
        await until(pilot, lambda: staged.is_held or not staged.is_waiting)

    return steps


@SIZES
def test_setup(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=pressed())


@SIZES
def test_setup_blocked(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=pressed("down"))


@SIZES
@pytest.mark.parametrize("memory_gib", [0.638, 0.5], ids=["tight", "over"])
def test_setup_at_the_end_of_memory(
    snap_compare: Compare, tmp_path: Path, size: tuple[int, int], memory_gib: float
) -> None:
    app = make_app(tmp_path, machine=replace(MACHINE, memory_gib=memory_gib))

    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        await until(pilot, lambda: "Looking" not in "".join(problems_of(pilot)))

    assert snap_compare(app, terminal_size=size, run_before=steps)


@SIZES
def test_setup_on_a_card(
    snap_compare: Compare,
    tmp_path: Path,
    size: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    card = replace(hardware.profile("rtx-3060-12gb"), name="auto", reason="NVML names it")
    app = make_app(tmp_path, machine=card, recipes=["gemma4-e2b-lora-sft-korean"])
    assert snap_compare(app, terminal_size=size, run_before=pressed())


def test_setup_edited(snap_compare: Compare, tmp_path: Path) -> None:
    """A change that is taken, and another that is typed wrongly."""
    keys = ("e", *["down"] * 5, "enter", "backspace", "enter", "down", "enter", "x")
    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=pressed(*keys))


def test_setup_filtered(snap_compare: Compare, tmp_path: Path) -> None:
    app = make_app(tmp_path, recipes=["quickstart"])
    write_recipes(tmp_path)
    steps = pressed("slash", *"facts")
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps)


def test_setup_named(snap_compare: Compare, tmp_path: Path) -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        await pressed()(pilot)
        await pilot.press("w", *"facts")

    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=steps)


def test_setup_offers_the_run_at_work(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=pressed())


@SIZES
@pytest.mark.parametrize(
    ("name", "state"),
    [("live", "running"), ("healthy", "done"), ("failed", "failed"), ("died", "died")],
)
def test_run(
    snap_compare: Compare,
    tmp_path: Path,
    runs: dict[str, RunDir],
    size: tuple[int, int],
    name: str,
    state: str,
) -> None:
    app = make_app(tmp_path, runs[name])
    assert snap_compare(app, terminal_size=size, run_before=followed(state))


@pytest.mark.parametrize("key", ["2", "3", "4", "x", "q"])
def test_run_after_a_key(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir], key: str
) -> None:
    app = make_app(tmp_path, runs["live"])
    assert snap_compare(app, terminal_size=(80, 24), run_before=followed("running", key))


@pytest.mark.parametrize(("device", "size"), [("cpu", (80, 24)), ("card", (120, 40))])
def test_run_beside_its_forecast(
    snap_compare: Compare, tmp_path: Path, device: str, size: tuple[int, int]
) -> None:
    told = compared(on_card(load("healthy")) if device == "card" else load("healthy"))
    run = lay_down(Path("runs"), "2026-11-21-0931-healthy", told, LOG, FORECAST)
    app = make_app(tmp_path, run)
    assert snap_compare(app, terminal_size=size, run_before=followed("done", "5"))


@SIZES
def test_runs(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir], size: tuple[int, int]
) -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        await pilot.press("r")
        await until(pilot, lambda: pilot.app.screen.query_one("DataTable").row_count == 4)

    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=steps)


def test_runs_found_and_marked(
    snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]
) -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        await pilot.press("r")
        await until(pilot, lambda: pilot.app.screen.query_one("DataTable").row_count == 4)
        await pilot.press("space", "down", "space", "slash", *"memory")
        await until(pilot, lambda: pilot.app.screen.query_one("DataTable").row_count == 2)
        await pilot.press("enter")

    assert snap_compare(make_app(tmp_path), terminal_size=(80, 24), run_before=steps)


@pytest.mark.parametrize(
    ("size", "keys"), [((120, 40), ""), ((80, 24), "v"), ((80, 24), "2")], ids=["all", "1", "2"]
)
def test_compare(
    snap_compare: Compare,
    tmp_path: Path,
    runs: dict[str, RunDir],
    size: tuple[int, int],
    keys: str,
) -> None:
    for at, name in enumerate(("healthy", "died")):
        recipe = {"adapter": {"r": 8 << at}, "data": {"max_length": 512}}
        runs[name].write_request({"name": name, "recipe": recipe})

    async def steps(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: is_judged(pilot))
        screen = CompareScreen([runs[name] for name in ("healthy", "died", "live")])
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: screen.sides)
        await pilot.press(*keys)

    assert snap_compare(make_app(tmp_path), terminal_size=size, run_before=steps)


@pytest.mark.parametrize("name", STATES)
def test_run_in_rarer_states(snap_compare: Compare, tmp_path: Path, name: str) -> None:
    make, state = STATES[name]
    run = lay_down(Path("runs"), f"2026-11-21-0931-{name}", make(), LOG)
    last_step = max((event.step for event in make() if isinstance(event, Step)), default=-1)

    async def steps(pilot: Pilot[Any]) -> None:
        await followed(state)(pilot)
        await until(pilot, lambda: pilot.app.screen.latest.run.steps.last_step == last_step)
        await pilot.pause(0.5)

    assert snap_compare(make_app(tmp_path, run), terminal_size=(80, 24), run_before=steps)


def test_run_from_near(snap_compare: Compare, tmp_path: Path, runs: dict[str, RunDir]) -> None:
    steps = followed("done", "left", "plus", "plus", "shift+left", "l")
    app = make_app(tmp_path, runs["healthy"])
    assert snap_compare(app, terminal_size=(120, 56), run_before=steps)


@SIZES
def test_preview(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    app, steps = make_app(tmp_path, staged=(staged := Staged())), previewed(staged, "j", "j")
    assert snap_compare(app, terminal_size=size, run_before=steps)


def test_preview_of_the_prompt(snap_compare: Compare, tmp_path: Path) -> None:
    app, steps = make_app(tmp_path, staged=(staged := Staged())), previewed(staged, *"jjj2")
    assert snap_compare(app, terminal_size=(80, 24), run_before=steps)


@SIZES
def test_preview_of_the_sources(
    snap_compare: Compare, tmp_path: Path, size: tuple[int, int]
) -> None:
    staged = Staged(replace(ANSWER, template_difference="@@ -1 +1 @@\n-{{ bos }}\n+{{ eos }}"))
    app, steps = make_app(tmp_path, staged=staged), previewed(staged, "3", "l")
    assert snap_compare(app, terminal_size=size, run_before=steps)


def test_preview_without_colour(
    snap_compare: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app, steps = make_app(tmp_path, staged=(staged := Staged())), previewed(staged, *"jjj")
    assert snap_compare(app, terminal_size=(120, 26), run_before=steps)


@SIZES
def test_preview_on_its_way(snap_compare: Compare, tmp_path: Path, size: tuple[int, int]) -> None:
    app, steps = make_app(tmp_path, staged=(staged := Staged(is_held=True))), previewed(staged)
    assert snap_compare(app, terminal_size=size, run_before=steps)


@pytest.mark.parametrize("kind", ["refused", "broken"])
def test_preview_that_is_none(snap_compare: Compare, tmp_path: Path, kind: str) -> None:
    problem = Problem("data.sources[0].path", "rows.jsonl", "it holds no row", "Put some in")
    replies = {
        "refused": Refused(1, "rows.jsonl", (problem,)),
        "broken": Broken(1, "the engine was killed by signal 9", "/tmp/preview/engine.log"),
    }
    staged = Staged(reply=lambda first, rows: replies[kind])
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
