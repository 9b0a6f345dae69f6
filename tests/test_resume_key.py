"""The app's key that lets a run go on, with real engines."""

import shutil
from pathlib import Path

import pytest
from bench_app import make_app, until

from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir
from tests.interrupted import run, stitched, written
from tests.test_app import enabled, screen_of
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen
from workbench.widgets.frame import KeyLine

SIZE = (120, 40)


@pytest.fixture(params=["died", "failed"])
def dead(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run below the current folder that ended in its third save, with a last word or without."""
    written(tmp_path, packing=False)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe.read_text() + 'on_failed_save = "stop"\n')
    act = "kill" if request.param == "died" else "enospc"
    run(tmp_path, fail=f"checkpoint.written:{act}@3")
    (tmp_path / "runs").mkdir()
    (tmp_path / "run").rename(tmp_path / "runs" / "2026-11-21-0930-dead")
    monkeypatch.chdir(tmp_path)
    return RunDir(Path("runs/2026-11-21-0930-dead"))


async def test_a_run_goes_on_by_a_key(dead: RunDir, tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: isinstance(screen_of(pilot), RunsScreen))
        await until(pilot, lambda: "resume" in enabled(pilot))
        await pilot.press("u")
        await until(pilot, lambda: isinstance(screen_of(pilot), RunScreen))
        screen = screen_of(pilot)
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.latest.state.name == "done")
        assert screen.latest.run.steps.last_step == 8
        assert "resume" not in enabled(pilot)
    assert list(stitched(dead)) == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_run_that_can_not_go_on_says_why(dead: RunDir, tmp_path: Path) -> None:
    for _, folder in checkpoint_manifest.folders(dead):
        (folder / "trainer_state.json").unlink()
    async with make_app(tmp_path, dead).run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: "resume" in enabled(pilot))
        await pilot.press("u")
        told = pilot.app._notifications
        await until(pilot, lambda: any("trainer_state.json is missing" in n.message for n in told))
        assert isinstance(screen_of(pilot), RunScreen)
    shutil.rmtree(dead.checkpoints)
    async with make_app(tmp_path, dead).run_test(size=SIZE) as pilot:
        screen = screen_of(pilot)
        await until(pilot, lambda: isinstance(screen_of(pilot), RunScreen))
        screen = screen_of(pilot)
        assert isinstance(screen, RunScreen)
        await until(pilot, lambda: screen.latest.state.name in {"died", "failed"})
        assert screen.disabled_reason("resume") == "It has no checkpoint to go on from"
        assert screen.query_one(KeyLine)
