"""How runs end: stopped, killed, failed, left alone; the viewer's fate is never the run's."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir, RunStatus, State
from engine.run.signals import APART_S
from tests import command


def started(
    folder: Path, *settings: str, steps: int = 2
) -> tuple[RunDir, "subprocess.Popen[bytes]"]:
    """A run that has taken some steps, and its viewer."""
    viewer = command.start(folder, "--run", "quickstart", "--json", "--out", "run", *settings)
    run = RunDir(folder / "run")
    command.wait(lambda: command.kinds(run).count("step") >= steps)
    return run, viewer


def ended(run: RunDir) -> dict[str, object]:
    """The last event of a run, once its supervisor wrote how it ended."""
    command.wait(run.ending.exists)
    return command.records(run)[-1]


def test_a_killed_viewer_leaves_the_run_to_finish(tmp_path: Path) -> None:
    run, viewer = started(tmp_path, *command.SHORT, steps=1)
    viewer.send_signal(signal.SIGKILL)
    viewer.wait()
    assert ended(run)["kind"] == "done"
    assert run.state().name == "done"
    assert json.loads(run.ending.read_text())["exit"] == 0


@pytest.mark.usefixtures("starts_anew")
def test_ctrl_c_stops_and_saves(tmp_path: Path) -> None:
    run, viewer = started(tmp_path, *command.LONG)
    viewer.send_signal(signal.SIGINT)
    code, _, err = command.finish(viewer)
    assert code == 130
    assert "stopping" in err
    last = ended(run)
    assert (last["kind"], last["stopped_by"]) == ("done", "Ctrl-C")
    assert (run.adapter / "adapter_model.safetensors").is_file()
    assert list(run.checkpoints.glob("step-*"))
    assert run.state().name == "stopped"


def test_stop_ends_a_run_for_all_its_viewers(tmp_path: Path) -> None:
    run, viewer = started(tmp_path, *command.LONG)
    code, out, _ = command.call(tmp_path, "stop", "run")
    assert code == 0
    assert "asked to stop" in out
    assert command.finish(viewer)[0] == 143
    assert ended(run)["stopped_by"] == "gemma-bench stop"


def test_a_signal_to_the_engine_saves(tmp_path: Path) -> None:
    """Not a hang-up, which it does not hear."""
    run, viewer = started(tmp_path, *command.LONG)
    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(command.records(run)[0]["pid"], number)
    assert command.finish(viewer)[0] == 143
    assert ended(run)["stopped_by"] == "SIGINT"


@pytest.mark.usefixtures("starts_anew")
def test_a_second_signal_ends_it_at_once_and_harms_nothing(tmp_path: Path) -> None:
    """It comes in the middle of the save that the first one asked for."""
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("GEMMA_BENCH_FAIL", "checkpoint.state:sleep@2")
        run, viewer = started(tmp_path, *command.LONG, "--set", "training.save_steps=2")
    command.wait(lambda: "checkpoint" in command.kinds(run))
    engine = command.records(run)[0]["pid"]
    os.kill(engine, signal.SIGTERM)
    command.wait((run.checkpoints / ".partial" / "adapter_model.safetensors").is_file)
    time.sleep(APART_S)
    os.kill(engine, signal.SIGTERM)
    assert command.finish(viewer)[0] == 1
    assert run.state() == State(RunStatus.DIED, "ended at once by a second SIGTERM")
    found, rejected = checkpoint_manifest.newest(run)
    assert found is not None
    assert (found.step, rejected) == (2, [])


@pytest.mark.usefixtures("starts_anew")
def test_slurm_ends_all_of_it_at_once_and_it_saves(tmp_path: Path) -> None:
    """Slurm sends to each process, and kills the rest as soon as the one it started is gone."""
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("SLURM_JOB_ID", "7")
        run, viewer = started(tmp_path, *command.LONG)
    engine = command.records(run)[0]["pid"]
    supervisor = psutil.Process(engine).ppid()
    for pid in (viewer.pid, engine, supervisor):
        os.kill(pid, signal.SIGTERM)
    assert command.finish(viewer)[0] == 143
    assert ended(run)["stopped_by"] == "SIGTERM"
    assert (run.adapter / "adapter_model.safetensors").is_file()
    assert list(run.checkpoints.glob("step-*"))
    assert run.state().name == "stopped"


def test_a_second_run_in_the_same_place_is_refused(tmp_path: Path) -> None:
    run, viewer = started(tmp_path, *command.LONG)
    before = run.recipe.read_bytes()
    code, _, err = command.call(tmp_path, "--run", "quickstart", "--out", "run")
    assert code == 3
    assert "gemma-bench attach" in err
    assert run.recipe.read_bytes() == before
    assert command.call(tmp_path, "stop", "run")[0] == 0
    command.finish(viewer)
    assert command.call(tmp_path, "--run", "quickstart", "--out", "run")[0] == 2


@pytest.mark.usefixtures("starts_anew")
def test_a_killed_engine_is_told_as_died(tmp_path: Path) -> None:
    run, viewer = started(tmp_path, *command.LONG)
    os.kill(command.records(run)[0]["pid"], signal.SIGKILL)
    code, _, err = command.finish(viewer)
    assert code == 1
    assert "signal 9" in err
    assert json.loads(run.ending.read_text())["signal"] == 9
    assert run.state().name == "died"


def test_wishes_are_done_between_steps(tmp_path: Path) -> None:
    run, viewer = started(tmp_path, *command.LONG)
    run.ask("mark", "a test")
    run.ask("save", "a test")
    run.ask("sample", "a test")
    command.wait(lambda: "checkpoint" in command.kinds(run))
    command.wait(lambda: any(r["kind"] == "sample" and r["step"] for r in command.records(run)))
    (marked,) = (record for record in command.records(run) if record["kind"] == "mark")
    assert marked["step"] >= 1
    run.ask("stop", "a test")
    assert command.finish(viewer)[0] == 143


def test_an_error_in_the_engine_is_an_event_with_advice(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "What?", "answer": "That."}\n{"question": \n')
    code, _, err = command.call(
        tmp_path, "--run", "quickstart", "--json", "--out", "run",
        "--set", 'data.sources=[{path="rows.jsonl"}]', "--set", "data.strict=true",
    )  # fmt: skip
    run = RunDir(tmp_path / "run")
    last = ended(run)
    assert (code, last["kind"], last["phase"]) == (1, "failed", "data")
    assert f"{rows}:2" in str(last["error"])
    assert last["hint"] == "Mend or remove the rows, or leave out data.strict"
    assert "Traceback" in (run.path / str(last["log"])).read_text()
    assert "Traceback" not in err


def test_a_loss_that_is_no_number_is_shown_and_ends_the_run(tmp_path: Path) -> None:
    code, out, _ = command.call(
        tmp_path, "--run", "quickstart", "--out", "run", *command.SHORT,
        "--set", "training.learning_rate=1e30", "--set", "training.warmup_steps=0",
    )  # fmt: skip
    run = RunDir(tmp_path / "run")
    *_, step, last = command.records(run)
    assert code == 1
    figures = step["metrics"]
    assert (step["kind"], figures["loss"], figures["grad_norm"]) == ("step", None, None)
    assert last["kind"] == "failed"
    assert "learning_rate" in str(last["hint"])
    assert "not a number" in out


def test_a_detached_run_is_on_its_own(tmp_path: Path) -> None:
    code, out, _ = command.call(tmp_path, "--run", "quickstart", "--detach", *command.SHORT)
    assert code == 0
    run = RunDir(tmp_path / out.strip())
    assert run.name.endswith("-quickstart")
    assert ended(run)["kind"] == "done"


@pytest.mark.parametrize("field", ["trained_exact", "heldout_exact", "base_exact"])
def test_rows_without_facts_are_not_scored(field: str, unscored: list[dict[str, object]]) -> None:
    assert field not in unscored[-1]
    assert any(r["kind"] == "warning" and r["code"] == "not_scored" for r in unscored)


@pytest.fixture(scope="module")
def unscored(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Events of a run on rows that name no facts."""
    folder = tmp_path_factory.mktemp("unscored")
    (folder / "rows.jsonl").write_text('{"question": "What?", "answer": "That."}\n' * 8)
    sources = 'data.sources=[{path="rows.jsonl"}]'
    command.call(folder, "--run", "quickstart", "--out", "run", "--set", sources, *command.SHORT)
    return command.records(RunDir(folder / "run"))
