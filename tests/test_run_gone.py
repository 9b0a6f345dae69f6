"""A run directory that is removed, moved or replaced ends its engine, which makes none anew."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.run import supervise
from engine.run.rundir import RunDir
from tests import command
from workbench import launch

ROOT = Path(__file__).parents[1]
SETTINGS = ["training.max_steps=2000", "training.save_steps=2", "samples.every=0"]


def has_saved(run: RunDir) -> bool:
    return "checkpoint" in command.kinds(run)


def is_loading(run: RunDir) -> bool:
    return any(record.get("name") == "loading" for record in command.records(run))


def started(
    folder: Path, is_ready: Callable[[RunDir], bool] = has_saved
) -> tuple[RunDir, "subprocess.Popen[bytes]"]:
    """A run that has come so far, and its supervisor, whose standard error is ours."""
    run = launch.propose("quickstart", SETTINGS, "cpu", folder / "run").make()
    line = [
        sys.executable, "-I", "-S", supervise.__file__, str(run.lock), str(run.ending),
        sys.executable, "-P", "-m", "engine", "train", str(run.path),
    ]  # fmt: skip
    supervisor = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    command.wait(lambda: is_ready(run))
    return run, supervisor


@pytest.mark.parametrize("fate", ["removed", "replaced", "moved"])
def test_the_engine_ends_within_a_step(tmp_path: Path, fate: str) -> None:
    run, supervisor = started(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    run.path.rename(elsewhere)
    if fate == "replaced":
        (run.path / "checkpoints").mkdir(parents=True)
        run.request.write_text("{}")
        (run.path / "mine.txt").write_text("not to be touched")
    if fate != "moved":
        shutil.rmtree(elsewhere)
    _, said = supervisor.communicate(timeout=60)
    assert supervisor.returncode == 1
    told = said.decode()
    assert f"the run directory {run.path} was {fate}" in told
    assert "training ends after step" in told
    assert "checkpoints/step-0000" in told
    if fate == "replaced":
        names = sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*"))
        assert names == ["checkpoints", "mine.txt", "request.json"]
    else:
        assert not run.path.exists()
    if fate == "moved":
        assert f"lies in {elsewhere}" in told
        moved = RunDir(elsewhere)
        steps = [record["step"] for record in command.records(moved) if record["kind"] == "step"]
        assert command.records(moved)[-1]["kind"] == "failed"
        assert f"after step {steps[-1]}" in told
        assert "was moved to" in json.loads(moved.ending.read_bytes())["cause"]
    else:
        assert "went with it" in told


def test_one_that_is_replaced_while_a_model_is_loaded_is_left_alone(tmp_path: Path) -> None:
    run, supervisor = started(tmp_path, is_loading)
    run.path.rename(tmp_path / "elsewhere")
    run.path.mkdir()
    run.request.write_text("{}")
    _, said = supervisor.communicate(timeout=60)
    assert "was moved to" in said.decode()
    assert [path.name for path in run.path.iterdir()] == ["request.json"]
    assert not RunDir(tmp_path / "elsewhere").plan.exists()


def test_those_who_follow_one_are_told(tmp_path: Path) -> None:
    run, supervisor = started(tmp_path)
    viewer = command.start(tmp_path, "attach", "run")
    command.wait(lambda: viewer.stdout and viewer.stdout.readline().startswith(b"engine"))
    run.path.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere")
    code, out, _ = command.finish(viewer)
    assert code == 1
    assert "was removed or moved" in out
    supervisor.communicate(timeout=60)


def test_a_run_without_its_folder_is_not_made_anew_by_a_save(tmp_path: Path) -> None:
    """Nor by what is saved between the look at the lock and the next."""
    from engine.train.saving.checkpoints import Checkpoints
    from engine.train.saving.final_adapter import save_adapter

    run = RunDir(tmp_path / "gone")
    run.path.mkdir()
    checkpoints = Checkpoints(run, 2, {})
    shutil.rmtree(run.path)
    with pytest.raises(OSError, match="No such file"):
        checkpoints._make_folder()
    with pytest.raises(OSError, match="No such file"):
        save_adapter(run, None)
    assert not run.path.exists()


def test_what_peft_saves_makes_no_removed_run_anew(tmp_path: Path, gemma_folder: Any) -> None:
    """PEFT makes the folders that it saves into; this run goes as it begins to."""
    from engine.model import lora
    from engine.train.saving.final_adapter import save_adapter
    from tests import tiny

    run = RunDir(tmp_path / "gone")
    run.path.mkdir()
    model: Any = lora.attach(tiny.loaded(gemma_folder("gemma3")).model, tiny.ADAPTER, 0)
    save = model.save_pretrained

    def removed_first(folder: str) -> None:
        shutil.rmtree(run.path)
        save(folder)

    model.save_pretrained = removed_first
    with pytest.raises(OSError, match="No such file"):
        save_adapter(run, model)
    assert not run.path.exists()
