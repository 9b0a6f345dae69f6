"""What a recipe says of numbers that are none, of disks that are full, and of too little memory."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.data.conversation import Turn
from engine.data.encoding.template import template
from engine.events import Warned
from engine.gemma.config import dialect_of
from engine.loss_bounds import sane_loss
from engine.model import lora
from engine.model.answers.generate import Cut
from engine.recipe.schema import Training
from engine.run import checkpoint_manifest
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train import failures
from engine.train.answers import Answers
from engine.train.hooks.loss_warnings import LossWarnings, Spikes
from engine.train.progress import NonFiniteGuard, NotFinite, StepResult
from engine.train.saving.checkpoints import Checkpoints
from engine.train.state import TrainingState, restore
from tests import command, tiny

ROOT = Path(__file__).parents[1]
SMALL = """
    [data]
    sources = [{ path = "rows.jsonl" }]
    max_length = 64
    [training]
    max_steps = 6
    save_steps = 2
    per_device_train_batch_size = 4
    deterministic = true
"""

NO_STATE: Any = None
"""For hooks that look at a step's figures alone."""


def run(folder: Path, fail: str, *settings: str) -> tuple[int, RunDir, list[dict[str, Any]]]:
    """A run of six steps that something happens to."""
    (folder / "recipe.toml").write_text(SMALL)
    rows = [{"question": f"What is {n}?", "answer": f"It is {n * n}."} for n in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GEMMA_BENCH_FAIL", fail)
        code, _, _ = command.call(folder, "--run", "recipe.toml", "--out", "run", *settings)
    found = RunDir(folder / "run")
    return code, found, command.records(found)


def losses(records: list[dict[str, Any]]) -> list[float]:
    return list({r["step"]: r["metrics"]["loss"] for r in records if r["kind"] == "step"}.values())


def test_out_of_memory_is_told_with_shapes_parts_and_advice(tmp_path: Path) -> None:
    code, found, records = run(tmp_path, "train.batch:oom@4")
    last = records[-1]
    assert (code, last["kind"], last["step"]) == (1, "failed", 4)
    assert last["batch_shape"][0] == 4
    assert 4 <= last["batch_shape"][1] <= 64
    assert {"weights", "head"} <= set(last["ledger"])
    assert last["suggestion"]
    assert all(f"{key} = {value}" in last["hint"] for key, value in last["suggestion"].items())
    assert found.state().cause.startswith("out of memory in step 4, at 4 rows of")
    assert "Traceback" in found.log.read_text()


@pytest.mark.slow
def test_a_retry_takes_less_at_a_time_and_learns_the_same(tmp_path: Path) -> None:
    """From the newest checkpoint, with the same rows in every step."""
    exactly = ("--set", "model.dtype=float32")  # 16 bits round too much for the comparison below
    (tmp_path / "whole").mkdir()
    _, _, whole = run(tmp_path / "whole", "", *exactly)
    retry = ("--set", "training.on_out_of_memory=retry")
    code, found, records = run(tmp_path, "train.batch:oom@4", *retry, *exactly)
    assert code == 0
    (warned,) = (r for r in records if r.get("code") == "out_of_memory")
    assert "it goes on after step 2 with 2 rows" in warned["message"]
    (resumed,) = (r for r in records if r["kind"] == "resumed")
    assert resumed["exactness"] == "but for the rounding of smaller batches"
    assert "2 rows at a time and 2 accumulation steps" in warned["message"]
    assert [r["step"] for r in records if r["kind"] == "step"] == [1, 2, 3, 3, 4, 5, 6]
    assert losses(records) == pytest.approx(losses(whole), rel=1e-4)
    plan = found.read_plan()
    assert plan["recipe"]["training"]["per_device_train_batch_size"] == 4
    command.wait(lambda: not found.is_alive())
    found.events.write_bytes(b"\n".join(found.events.read_bytes().split(b"\n")[:-2]) + b"\n")
    assert command.call(tmp_path, "resume", "run")[0] == 0


def test_one_row_that_does_not_fit_ends_the_run(tmp_path: Path) -> None:
    code, _, records = run(
        tmp_path, "train.batch:oom", "--set", "training.on_out_of_memory=retry",
        "--set", "training.per_device_train_batch_size=1",
    )  # fmt: skip
    assert (code, records[-1]["step"]) == (1, 1)


def test_too_little_before_any_batch_is_told_too() -> None:
    error = failures.OutOfMemory("no room for the moments", 5, ())
    assert "ahead of a step: no room" in str(error)


def test_a_real_lack_of_memory_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 50)
    assert failures.is_out_of_memory(raised.value)
    assert failures.is_out_of_memory(MemoryError())
    assert not failures.is_out_of_memory(RuntimeError("memory of other things"))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_library_without_room_for_its_handle_lacks_memory(message: str) -> None:
    assert failures.is_out_of_memory(RuntimeError(message))


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 2), (3, 5), (6, 1)])
def test_less_at_a_time_is_the_same_batch(batch: int, accumulation: int) -> None:
    training = Training(per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    smaller = failures.smaller(training)
    assert smaller
    assert smaller.per_device_train_batch_size < batch
    found = smaller.per_device_train_batch_size * smaller.gradient_accumulation_steps
    assert found == batch * accumulation


@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_save_that_fails_ends_a_run_that_says_so(error: str, tmp_path: Path) -> None:
    code, found, records = run(
        tmp_path, f"checkpoint.state:{error}@2", "--set", "training.on_failed_save=stop"
    )
    last = records[-1]
    assert (code, last["kind"]) == (1, "failed")
    assert ("disk_full" in last["error"]) == (error == "enospc")
    assert "the checkpoint of step 4 could not be saved" in last["error"]
    kept = found.path / "adapter-step-000004"
    assert f"what was trained is kept in {kept.resolve()}; " in last["error"]
    assert (kept / "adapter_model.safetensors").stat().st_size > 1000
    assert "gemma-bench resume" in last["hint"]
    assert [path.name for path in found.checkpoints.iterdir()] == ["step-000002"]
    assert command.call(tmp_path, "resume", "run")[0] == 0
    assert losses(command.records(found))[-1] is not None


SAVE = """
import resource, signal, sys, torch
from safetensors.torch import save_file
from engine.run import disk
from engine.train.saving import checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    with checkpoints.numbered_disk_errors():
        save_file({"a": torch.zeros(10_000)}, sys.argv[1])
except OSError as error:
    print(error.errno in disk.FULL, error.strerror)
"""


def test_a_disk_that_is_full_for_tensors_is_known_as_one(tmp_path: Path) -> None:
    """Safetensors says so in words alone."""
    line = [sys.executable, "-c", SAVE, str(tmp_path / "tensors")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "True File too large\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_without_room_is_told_before_the_first_step(tmp_path: Path) -> None:
    """On a real file system of 600 KiB."""
    room = tmp_path / "room"
    room.mkdir()
    if os.system(f"mount -t tmpfs -o size=600k tmpfs {room}"):
        pytest.skip("no file system can be mounted here")
    try:
        command_line = ("--set", "training.on_failed_save=stop", "--set", "adapter.r=64")
        (tmp_path / "recipe.toml").write_text(SMALL)
        rows = '{"question": "What?", "answer": "That."}\n' * 8
        (tmp_path / "rows.jsonl").write_text(rows)
        code, _, _ = command.call(
            tmp_path, "--run", "recipe.toml", "--out", "room/run", *command_line
        )
        records = command.records(RunDir(room / "run"))
        assert code == 1
        assert "step" not in [record["kind"] for record in records]
        assert "disk_full: there is no room for a checkpoint" in records[-1]["error"]
    finally:
        command.wait(lambda: not RunDir(room / "run").is_alive())
        os.system(f"umount -l {room}")


class Poisoning(tiny.Gradients):
    """A frozen weight is no number in the second step and in the fourth."""

    def on_step_begin(self, state: TrainingState) -> None:
        self.weight = next(p for p in state.model.parameters() if not p.requires_grad)
        self.sound = self.weight.data.clone()
        if state.progress.step in {1, 3}:
            self.weight.data.fill_(math.nan)

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        super().on_step_end(state, result)
        self.weight.data.copy_(self.sound)


def test_a_step_without_a_number_is_left_out(gemma_folder: Any, tmp_path: Path) -> None:
    told: list[Warned] = []
    callback, guard = Poisoning(), NonFiniteGuard(2, told.append)
    trainer = tiny.trainer(
        tiny.loaded(gemma_folder("gemma3")), callback, guard=guard,
        max_steps=5, warmup_steps=0.0, weight_decay=0.5, learning_rate=1e-3,
    )  # fmt: skip
    trainer.train()
    assert [math.isfinite(loss) for loss in callback.losses] == [True, False, True, False, True]
    assert [one.code for one in told] == ["step_skipped"] * 2
    assert "2 of at most 2 times" in told[1].message
    states = trainer.state.optimizer.state.values()
    assert {int(state["step"]) for state in states} == {3}
    assert all(bool(p.isfinite().all()) for p in trainer.model.parameters())


def test_one_step_too_many_ends_it(gemma_folder: Any, tmp_path: Path) -> None:
    told: list[Warned] = []
    callback, guard = Poisoning(), NonFiniteGuard(1, told.append)
    trainer = tiny.trainer(tiny.loaded(gemma_folder("gemma3")), callback, guard=guard, max_steps=5)
    with pytest.raises(NotFinite, match="step 4"):
        trainer.train()
    assert len(told) == 1


def test_steps_that_were_left_out_cost_no_good_checkpoint(tmp_path: Path) -> None:
    """At a rate that no weight survives, each step after the first is without a number."""
    settings = (
        "--set", "training.on_nonfinite=skip", "--set", "training.learning_rate=1e30",
        "--set", "training.warmup_steps=0", "--set", "training.save_steps=1",
    )  # fmt: skip
    code, found, records = run(tmp_path, "", *settings)
    assert (code, records[-1]["kind"]) == (1, "failed")
    told = [r["message"] for r in records if r.get("code") == "step_skipped"]
    assert len(told) == 3
    assert "3 of at most 3 times" in told[-1]
    assert losses(records)[1:] == [None] * 4
    assert [path.name for path in found.checkpoints.iterdir()] == ["step-000001"]


def test_a_run_is_warned_of_a_spike(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    warnings = LossWarnings(EventLog(run), vocab_size=1000, accumulation_steps=1)
    for step, loss in enumerate([2.0 + 0.01 * (n % 3) for n in range(30)] + [9.0], 1):
        metrics = {"loss": loss, "grad_norm": loss, "token_accuracy": 0.5}
        warnings.on_step_end(NO_STATE, StepResult(step, 4, 4, metrics))
    (warned,) = (record for record in command.records(run) if record["kind"] == "warning")
    assert warned["code"] == "loss_spike"
    assert warned["message"] == (
        "the loss of step 31 is 9, where the 30 steps before it had a median of 2.01"
    )


def test_what_was_skipped_counts_on_after_a_resumption(gemma_folder: Any, tmp_path: Path) -> None:
    """The limit is of the run, not of each of its lives."""
    run, gemma = RunDir(tmp_path), tiny.loaded(gemma_folder("gemma3"))
    first = tiny.trainer(gemma, guard=NonFiniteGuard(3, skipped=2))
    first.train()
    Checkpoints(run, 1, {}).save(first.state)
    start = checkpoint_manifest.newest(run)[0]
    assert start
    second = tiny.trainer(tiny.loaded(gemma_folder("gemma3")), guard=NonFiniteGuard(3))
    restore(second.state, start.folder)
    assert second.state.guard.skipped == 2
    assert second.state.progress.skipped_steps == 2


def test_a_stop_cuts_answers_short(gemma_folder: Any, tmp_path: Path) -> None:
    """So that a long scoring is no reason to be killed."""
    run, gemma = RunDir(tmp_path), tiny.loaded(gemma_folder("gemma3"))
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    model = lora.attach(gemma.model, tiny.ADAPTER, 0)
    answers = Answers(model, gemma.tokenizer, chosen, EventLog(run), RunControl(run))
    asked = [(Turn("user", "Hello!"),)]
    assert len(answers.ask(asked, 4, as_base=True)) == 1
    run.ask("stop", "a test")
    with pytest.raises(Cut):
        answers.ask(asked, 4, as_base=True)


def test_a_spike_is_told_once() -> None:
    spikes = Spikes()
    calm = [2.0 + 0.1 * math.sin(n) for n in range(40)]
    assert [spikes.judge(step, loss, 700) for step, loss in enumerate(calm)] == [None] * 40
    told = [spikes.judge(40 + n, 6.0, 700) for n in range(5)]
    assert told[0]
    assert told[0].code == "loss_spike"
    assert "median of 2.0" in told[0].message
    assert told[1:] == [None] * 4


@pytest.mark.parametrize(
    ("usual", "loss", "supervised_tokens", "is_spike"),
    [
        (2.80, 4.86, 56, False),
        (2.80, 4.86, 700, True),
        (2.80, 9.00, 350, True),
        (0.0003, 0.001, 700, False),
        (0.0003, 0.21, 700, True),
        (0.0003, 0.21, 7, False),
        (2.80, 4.10, 700, False),
    ],
)
def test_a_spike_is_judged_by_its_rise_and_its_tokens(
    usual: float, loss: float, supervised_tokens: int, is_spike: bool
) -> None:
    """A step of 56 tokens among steps of 700, and ten times nearly nothing, are none."""
    spikes = Spikes()
    for step in range(30):
        assert spikes.judge(step, usual * (1 + 0.01 * math.sin(step)), 650 + step % 90) is None
    assert (spikes.judge(30, loss, supervised_tokens) is not None) == is_spike


def test_where_nearly_all_was_right_the_bound_of_a_loss_has_a_floor() -> None:
    assert sane_loss(1.0, 262_144) == sane_loss(0.995, 262_144) == pytest.approx(0.105, abs=1e-3)
    assert sane_loss(0.66, 262_144) == pytest.approx(4.2426, abs=1e-3)
