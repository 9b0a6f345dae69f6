"""A run that goes on from another's checkpoint with a changed recipe, and says whose it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.events import Plan, decode
from engine.problems import Refusal
from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from engine.train import planning
from tests import command
from tests.interrupted import stitched
from workbench.commands.branch import branch


@pytest.fixture
def parent(dead_run: RunDir, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run of the current folder that died after step 6, with checkpoints up to step 4."""
    monkeypatch.chdir(dead_run.path.parent)
    return RunDir(Path("run"))


def test_a_branch_goes_on_with_what_was_changed(parent: RunDir, tmp_path: Path) -> None:
    before = parent.events.read_bytes()
    rows = tmp_path / "a.jsonl"
    rows.write_text(rows.read_text() + '{"question": "Another?", "answer": "Yes."}\n')
    code, out, err = command.call(
        tmp_path, "resume", "run", "--branch", "--out", "other",
        "--set", "training.learning_rate=0.01", "--set", "training.max_steps=10",
        "--set", "training.lr_scheduler_type=constant",
    )  # fmt: skip
    assert code == 0, err
    assert "goes on after step 4 of run, with what was changed since" in out
    other = RunDir(tmp_path / "other")
    told = command.records(other)
    (resumed,) = (record for record in told if record["kind"] == "resumed")
    assert (resumed["step"], resumed["parent"]) == (4, "run")
    steps = [record for record in told if record["kind"] == "step"]
    assert [step["step"] for step in steps] == [5, 6, 7, 8, 9, 10]
    assert {step["metrics"]["learning_rate"] for step in steps} == {0.01}
    assert steps[0]["tokens"] > max(step[4] for step in stitched(parent).values()) * 0.6
    assert other.read_plan()["parent"]["step"] == 4
    assert other.read_request().overrides[-1] == "training.lr_scheduler_type=constant"
    assert (other.path / "recipe.toml").read_bytes() == parent.recipe.read_bytes()
    assert parent.events.read_bytes() == before
    assert other.state().name == "done"


def test_a_branch_that_dies_goes_on_too(parent: RunDir, tmp_path: Path) -> None:
    """From what it was given, and later from its parent."""
    other = branch(parent, ["training.learning_rate=0.01"], Path("other"), anyway=False)
    assert [step for step, _ in checkpoint_manifest.folders(other)] == [4]
    code, out, _ = command.call(tmp_path, "resume", "other")
    assert code == 0
    assert "after step 4 of run" in out
    command.wait(lambda: not other.is_alive())
    other.events.write_bytes(b"\n".join(other.events.read_bytes().split(b"\n")[:-2]) + b"\n")
    code, out, _ = command.call(tmp_path, "resume", "other")
    assert code == 0, out
    assert "goes on after step 8, to the bit" in out


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["adapter.r=8"], "adapter.r = 8: the checkpoint was made with 4"),
        (["training.optim=sgd"], "training.optim = 'sgd'"),
        (["training.optim=adamw_8bit"], "training.optim = 'adamw_8bit'"),
        (["training.loraplus_lr_ratio=4.0"], "training.loraplus_lr_ratio"),
        (["model.quantization=nf4"], "model.quantization"),
        (["training.learning_rate=-1.0"], "training.learning_rate"),
        (["training.learning_rat=1.0"], "Did you mean training.learning_rate"),
        (["nonsense"], "is not KEY=VALUE"),
        (["training.max_steps=4"], "nothing is left to train after step-000004"),
    ],
)
def test_what_no_checkpoint_fits_is_refused(
    overrides: list[str], told: str, parent: RunDir
) -> None:
    with pytest.raises(Refusal) as refused:
        branch(parent, overrides, Path("other"), anyway=False)
    assert told in str(refused.value)
    assert not Path("other").exists()


def test_batches_of_another_size_move_where_it_goes_on(parent: RunDir) -> None:
    """Told with numbers; where nothing would be left, it is refused."""
    found = checkpoint_manifest.newest(parent)[0]
    (plan,) = (event for event in map(decode, Tail(parent.events).read_new()) if is_plan(event))
    assert found
    assert isinstance(plan, Plan)
    assert planning.position(found, plan) is None
    warned = planning.position(found, msgspec.structs.replace(plan, epochs=plan.epochs * 2))
    assert warned
    assert "goes on" in warned.message
    with pytest.raises(Refusal, match="behind the end of what it became: 4 steps"):
        planning.position(found, msgspec.structs.replace(plan, total_steps=4))


def is_plan(event: object) -> bool:
    return isinstance(event, Plan)


def test_a_branch_of_a_damaged_request_is_refused(parent: RunDir) -> None:
    parent.request.write_text('{"recipe":')
    with pytest.raises(Refusal, match="it is damaged and can't be read"):
        branch(parent, [], Path("other"), anyway=False)
    assert not Path("other").exists()


def test_a_branch_of_nothing_whole_is_refused(parent: RunDir) -> None:
    for _, folder in checkpoint_manifest.folders(parent):
        (folder / checkpoint_manifest.NAME).unlink()
    with pytest.raises(Refusal, match="its save did not end"):
        branch(parent, [], Path("other"), anyway=False)
    assert not Path("other").exists()


def test_a_checkpoint_that_can_not_be_copied_leaves_nothing(
    parent: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the run it comes from removes it meanwhile."""
    found = checkpoint_manifest.newest(parent)[0]
    assert found
    verified: Any = (found, [])
    shutil.rmtree(found.folder)
    monkeypatch.setattr(checkpoint_manifest, "newest", lambda _: verified)
    with pytest.raises(Refusal, match="could not be copied"):
        branch(parent, [], Path("other"), anyway=False)
    assert not Path("other").exists()


@pytest.mark.parametrize("option", [["--set", "a.b=1"], ["--out", "x"], ["--anyway"]])
def test_a_resumption_takes_no_changes(option: list[str], parent: RunDir, tmp_path: Path) -> None:
    code, _, err = command.call(tmp_path, "resume", "run", *option)
    assert (code, "--branch only" in err) == (2, True)


def test_a_changed_recipe_is_told_the_way(parent: RunDir, tmp_path: Path) -> None:
    request = parent.read_request_document()
    request["recipe"]["training"]["weight_decay"] = 0.5
    parent.request.write_text(json.dumps(request))
    code, out, _ = command.call(tmp_path, "resume", "run")
    assert code == 1
    assert "training.weight_decay: 0.0 became 0.5" in out
    assert "gemma-bench resume RUN --branch" in out
