"""Runs that were interrupted go on from their newest whole checkpoint, to the bit."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import equal

from engine.events import Mark
from engine.jobs import resume_job
from engine.problems import Refusal
from engine.run import checkpoint_manifest
from engine.run.event_log import EventLog
from engine.run.job import Job
from engine.run.rundir import RunDir
from engine.train import planning
from tests import command
from tests.failpoints import POINTS
from tests.interrupted import EVERY, STEPS, run, stitched, written
from workbench import launch

assert len(POINTS) > 6, "no points found would be no tests"


def assert_same(found: RunDir, expected: RunDir) -> None:
    """Every step and the adapter, to the bit."""
    assert stitched(found) == stitched(expected)
    assert len(stitched(found)) == STEPS
    ours, theirs = (
        load_file(one.adapter / "adapter_model.safetensors") for one in (found, expected)
    )
    assert ours.keys() == theirs.keys()
    assert all(equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module", params=[False, True], ids=["apart", "packed"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    written(folder, request.param)
    return run(folder)[1]


def copied(whole: RunDir, folder: Path) -> Path:
    """Its recipe and rows in another folder."""
    written(folder, "packing = true" in (whole.path.parent / "recipe.toml").read_text())
    return folder


@pytest.mark.usefixtures("starts_anew")
def test_a_run_killed_in_a_save_goes_on_to_the_bit(whole: RunDir, tmp_path: Path) -> None:
    """It dies in its third save, after an epoch ended; one loses its newest checkpoint besides."""
    code, dead = run(copied(whole, tmp_path), fail="checkpoint.written:kill@3")
    assert code == 1
    assert dead.state().name == "died"
    assert max(stitched(dead)) == 6
    is_damaged = "packing = true" in (tmp_path / "recipe.toml").read_text()
    if is_damaged:
        (dead.checkpoint(4) / "training_state.safetensors").unlink()
    code, out, err = command.call(tmp_path, "resume", "run")
    assert code == 0, err
    (resumed,) = (record for record in command.records(dead) if record["kind"] == "resumed")
    if is_damaged:
        reason = "training_state.safetensors is missing"
        assert (resumed["step"], resumed["rejected"]) == (2, {"step-000004": reason})
        assert "not from step-000004" in out
    else:
        assert (resumed["step"], resumed["rejected"]) == (4, {})
        assert "goes on after step 4, to the bit" in out
    assert_same(dead, whole)
    assert [path.name for path in sorted(dead.checkpoints.iterdir())] == [
        "step-000006", "step-000008",
    ]  # fmt: skip
    assert command.call(tmp_path, "attach", "run")[0] == 0
    code, _, err = command.call(tmp_path, "resume", "run")
    assert (code, "the run is done" in err) == (2, True)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that nothing happened to, with all of its checkpoints."""
    folder = tmp_path_factory.mktemp("apart")
    written(folder, packing=False)
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("save_total_limit = 2", "save_total_limit = 9"))
    return run(folder)[1]


PASSES = {"adapter.written": 1, "checkpoint.rotated": 1, "train.batch": 10, "events.append": 14}
"""Which pass of a point is the end, where it is not the second: late enough for a checkpoint."""


@pytest.mark.parametrize("point", POINTS)
def test_a_whole_checkpoint_is_left_wherever_it_dies(
    point: str, apart: RunDir, tmp_path: Path
) -> None:
    """At every named point of the second save, or of the first rotation; it is to the bit what an
    uninterrupted run saved, so that going on from one is going on from any."""
    written(tmp_path, packing=False)
    if point.startswith("resume"):
        run(tmp_path, fail="checkpoint.written:kill@3")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("GEMMA_BENCH_FAIL", f"{point}:kill")
            assert command.call(tmp_path, "resume", "run")[0] == 1
        dead = RunDir(tmp_path / "run")
    else:
        _, dead = run(tmp_path, fail=f"{point}:kill@{PASSES.get(point, 2)}")
    assert dead.state().name == "died", point
    found, rejected = checkpoint_manifest.newest(dead)
    assert found is not None
    assert rejected == []
    assert found.step >= max(stitched(dead)) - EVERY
    assert point.startswith("checkpoint") or not dead.adapter.exists()
    ours, theirs = found.folder, apart.checkpoint(found.step)
    for name in ("adapter_model.safetensors", "training_state.safetensors", "training_state.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert without_clock(ours / "trainer_state.json") == without_clock(
        theirs / "trainer_state.json"
    )


def without_clock(path: Path) -> dict[str, Any]:
    """What was kept, but for how long it took."""
    progress: dict[str, Any] = json.loads(path.read_text())
    assert progress.pop("elapsed_s") > 0
    return progress


@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_save_that_fails_is_told_and_costs_nothing(error: str, tmp_path: Path) -> None:
    written(tmp_path, packing=False)
    code, done = run(tmp_path, fail=f"checkpoint.state:{error}@2")
    assert code == 0
    (warned,) = (r for r in command.records(done) if r.get("code") == "checkpoint_failed")
    assert "step 4 could not be saved" in warned["message"]
    assert [path.name for path in sorted(done.checkpoints.iterdir())] == [
        "step-000006", "step-000008",
    ]  # fmt: skip


def test_a_stopped_run_goes_on(apart: RunDir, tmp_path: Path) -> None:
    """Its wish to stop is of the past; what it told of its end does not end who follows it."""
    folder = copied(apart, tmp_path)
    process = command.start(folder, "--run", "recipe.toml", "--out", "run")
    going = RunDir(folder / "run")
    command.wait(lambda: command.kinds(going).count("step") >= 1)
    code, _, err = command.call(folder, "resume", "run")
    assert (code, "the run is at work" in err) == (3, True)
    os.kill(command.records(going)[0]["pid"], signal.SIGTERM)
    assert command.finish(process)[0] == 143
    assert going.state().name == "stopped"
    code, _, err = command.call(folder, "resume", "run")
    assert code == 0, err
    assert_same(going, apart)
    told = [record["kind"] for record in command.records(going)]
    assert (told.count("hello"), told.count("done")) == (2, 2)
    assert command.call(folder, "attach", "run")[0] == 0


def test_a_run_that_died_with_its_last_step_done_ends(apart: RunDir, tmp_path: Path) -> None:
    """Nothing is left to train; its last figures are those of the step before."""
    _, dead = run(copied(apart, tmp_path), fail="adapter.written:kill")
    assert dead.state().name == "died"
    assert not dead.adapter.exists()
    code, _, err = command.call(tmp_path, "resume", "run")
    assert code == 0, err
    assert_same(dead, apart)
    ours, theirs = (command.records(one)[-1] for one in (dead, apart))
    assert ours["steps"] == STEPS
    assert (ours["loss"], ours["token_accuracy"]) == (theirs["loss"], theirs["token_accuracy"])


def test_a_changed_run_is_refused_with_what_changed(tmp_path: Path) -> None:
    folder = tmp_path
    written(folder, packing=False)
    _, dead = run(folder, fail="checkpoint.written:kill@2")
    request = dead.read_request_document()
    request["recipe"]["training"]["learning_rate"] = 0.5
    dead.request.write_text(json.dumps(request))
    with (folder / "a.jsonl").open("a") as rows:
        rows.write('{"question": "Another?", "answer": "Yes."}\n')
    code, out, _ = command.call(folder, "resume", "run")
    assert code == 1
    assert "recipe.training.learning_rate: 0.0002 became 0.5" in out
    assert "data_fingerprint" in out


def test_any_damage_to_a_checkpoint_is_seen(dead_run: RunDir) -> None:
    """Every file of it, cut, flipped in one bit, gone, or joined by another."""
    (_, newest), (older, _) = checkpoint_manifest.folders(dead_run)
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    assert {path.name for path in files} >= {
        "adapter_model.safetensors", "training_state.safetensors", "training_state.json",
        "trainer_state.json", "manifest.json",
    }  # fmt: skip
    for file in files:
        content = file.read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        for damaged in (b"", content[:middle], content[:-2], flipped, None):
            file.unlink()
            if damaged is not None:
                file.write_bytes(damaged)
            found, (rejected,) = checkpoint_manifest.newest(dead_run)
            assert found is not None
            assert (found.step, rejected.name) == (older, newest.name), (file, damaged)
            file.write_bytes(content)
    stranger = newest / "more.bin"
    stranger.write_bytes(b"")
    assert "more.bin was not there" in checkpoint_manifest.newest(dead_run)[1][0].reason
    stranger.unlink()
    assert checkpoint_manifest.newest(dead_run)[1] == []


def test_without_a_whole_checkpoint_nothing_is_started(dead_run: RunDir) -> None:
    for _, folder in checkpoint_manifest.folders(dead_run):
        (folder / "trainer_state.json").unlink()
    before = dead_run.events.read_bytes()
    code, _, err = command.call(dead_run.path.parent, "resume", "run")
    assert code == 2
    assert "none of its checkpoints is whole" in err
    assert "step-000004: trainer_state.json is missing" in err
    assert dead_run.events.read_bytes() == before


def test_of_two_resumptions_one_is_refused(
    dead_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may have seen a run that nobody works at; the supervisor's lock decides."""
    monkeypatch.chdir(dead_run.path.parent)
    launch.start(dead_run, Job.RESUME)
    with pytest.raises(Refusal, match="the run is at work") as refused:
        launch.start(dead_run, Job.RESUME)
    assert refused.value.exit_code == 3
    command.wait(lambda: not dead_run.is_alive())
    assert dead_run.state().name == "done"
    assert command.kinds(dead_run).count("resumed") == 1


def test_a_stop_before_it_goes_on_leaves_it_where_it_stood(dead_run: RunDir) -> None:
    process = command.start(dead_run.path.parent, "resume", "run")
    command.wait(lambda: command.kinds(dead_run).count("hello") == 2)
    dead_run.ask("stop", "a test")
    assert command.finish(process)[0] == 143
    last = command.records(dead_run)[-1]
    assert (last["kind"], last["stopped_by"], last["steps"]) == ("done", "a test", 4)
    assert (dead_run.path / last["adapter"] / "adapter_model.safetensors").is_file()
    assert dead_run.state().name == "stopped"


def test_a_damaged_request_is_refused(dead_run: RunDir) -> None:
    dead_run.request.write_text('{"recipe":')
    code, _, err = command.call(dead_run.path.parent, "resume", "run")
    assert (code, "request.json: it is damaged" in err) == (2, True)


def test_keys_that_came_since_are_no_change(dead_run: RunDir) -> None:
    """A checkpoint of an older version lacks them, and means what they mean left out."""
    found = checkpoint_manifest.newest(dead_run)[0]
    assert found
    del found.facts["recipe"]["training"]["on_nonfinite"]
    now = json.loads(json.dumps(checkpoint_manifest.newest(dead_run)[0].facts))  # type: ignore[union-attr]
    planning.require_same(dead_run, dead_run.read_request(), now, found)
    found.facts["recipe"]["training"]["seed"] = 5
    with pytest.raises(Refusal, match=r"training\.seed: 5 became 0"):
        planning.require_same(dead_run, dead_run.read_request(), now, found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_another_user_s_run_is_left_alone(dead_run: RunDir) -> None:
    os.chown(dead_run.path, 12345, -1)
    code, _, err = command.call(dead_run.path.parent, "resume", "run")
    assert (code, "belongs to another user" in err) == (2, True)


def test_another_processor_is_another_rounding(
    dead_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checkpoint_manifest.newest(dead_run)[0]
    assert found
    request = dead_run.read_request()
    assert resume_job._exactness(request, found).startswith("to the bit")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "A", "avx2": True})
    told = resume_job._exactness(request, found)
    assert told.startswith("but for rounding: torch")
    assert told.endswith("threads of A, avx2")


def test_a_torn_line_stays_apart_from_the_next(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for torn in (b'{"kind": "st', b"\0" * 5):
        run.events.write_bytes(b'{"kind": "mark"}\n' + torn)
        EventLog(run).append(Mark(step=1))
        *_, left, mark, end = run.events.read_bytes().split(b"\n")
        assert (left, json.loads(mark)["step"], end) == (torn, 1, b"")
