"""The training loop step by step: beside TRL's SFTTrainer, and against figures written down."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from engine.data.batches import Collator, alone
from engine.data.encoding.template import template
from engine.events import Sample, decode
from engine.gemma.config import dialect_of
from engine.model import lora
from engine.recipe.schema import Samples
from engine.run import checkpoint_manifest
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.train.answers import Answers
from engine.train.hooks.samples import SampleAnswers
from engine.train.hooks.save_checkpoints import SaveCheckpoints
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.saving.checkpoints import Checkpoints
from engine.train.state import TrainingState
from tests import tiny

SETTINGS: dict[str, Any] = {
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 2,
    "learning_rate": 1e-2, "weight_decay": 0.1, "max_grad_norm": 0.05, "warmup_steps": 0.0,
    "lr_scheduler_type": "linear",
}  # fmt: skip
FIGURES = ("loss", "grad_norm", "learning_rate")


class Recorded(Hook):
    """Keeps the figures of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        self.steps.append(dict(result.metrics))

    def of(self, name: str) -> list[float]:
        return [step[name] for step in self.steps]


class Logged(TrainerCallback):
    """The same of transformers' Trainer."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
        if "loss" in logs:
            self.steps.append(logs)


class InOrder(SFTTrainer):
    """SFTTrainer that takes rows as they stand."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def order_of(trial: tiny.Trial) -> list[int]:
    loader: Any = trial.state.loader
    return list(loader.batch_sampler.sampler)


def by_trl(gemma: tiny.Loaded, order: list[int], folder: Path) -> tuple[Any, Logged]:
    """The same adapter on the same rows in the same order."""
    model = lora.attach(gemma.model, tiny.ADAPTER, 0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    rows = [dataclasses.asdict(alone(row)) for row in tiny.rows(gemma)]
    columns = ("input_ids", "labels", "position_ids")
    logged = Logged()
    trainer = InOrder(
        model=model,
        args=SFTConfig(
            output_dir=str(folder), use_cpu=True, bf16=False, logging_steps=1, save_strategy="no",
            report_to="none", disable_tqdm=True, gradient_checkpointing=False, packing=False,
            dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False, **SETTINGS,
        ),
        train_dataset=Dataset.from_list([{c: rows[i][c] for c in columns} for i in order]),
        data_collator=Collator(gemma.tokenizer.pad_token_id),
        processing_class=gemma.tokenizer,
        callbacks=[logged],
    )  # fmt: skip
    trainer.train()
    return trainer.model, logged


@pytest.mark.parametrize("kind", ["gemma3", "gemma4_moe"])
def test_steps_are_those_of_trl(
    kind: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Loss, clipped gradient, rate and decay of two steps of two micro-batches each."""
    recorded = Recorded()
    ours = tiny.trainer(tiny.loaded(gemma_folder(kind)), recorded, **SETTINGS)
    order = order_of(ours)
    ours.train()
    theirs, logged = by_trl(tiny.loaded(gemma_folder(kind)), order, tmp_path)
    for name in FIGURES:
        assert recorded.of(name) == pytest.approx([s[name] for s in logged.steps], rel=1e-4), name
    assert min(recorded.of("grad_norm")) > SETTINGS["max_grad_norm"]
    weights = trained(theirs)
    for name, weight in trained(ours.model).items():
        # Adam takes steps of 1e-2, also where a gradient is nothing but rounding.
        torch.testing.assert_close(weight, weights[name], rtol=1e-2, atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "warmup_steps", "rates"),
    [
        ("linear", 0.0, [1.0, 0.75, 0.5, 0.25]),
        ("linear", 2.0, [0.0, 0.5, 1.0, 0.5]),
        ("linear", 0.3, [0.0, 0.5, 1.0, 0.5]),
        ("cosine", 0.0, [1.0, 0.853553, 0.5, 0.146447]),
        ("constant", 2.0, [1.0, 1.0, 1.0, 1.0]),
        ("constant_with_warmup", 2.0, [0.0, 0.5, 1.0, 1.0]),
    ],
)
def test_rates_follow_the_schedule(
    kind: str, warmup_steps: float, rates: list[float], gemma_folder: Callable[[str], Path]
) -> None:
    """A share of a warm-up is rounded up to whole steps."""
    recorded = Recorded()
    tiny.trainer(
        tiny.loaded(gemma_folder("gemma3")), recorded, max_steps=4, learning_rate=1.0,
        lr_scheduler_type=kind, warmup_steps=warmup_steps,
    ).train()  # fmt: skip
    assert recorded.of("learning_rate") == pytest.approx(rates, abs=1e-6)


def test_an_epochs_last_step_takes_what_is_left(gemma_folder: Callable[[str], Path]) -> None:
    """Eight rows, three at a time, two micro-batches a step: two steps an epoch, of 6 and 2."""
    recorded = Recorded()
    trial = tiny.trainer(
        tiny.loaded(gemma_folder("gemma3")), recorded, max_steps=-1, num_train_epochs=1.5,
        per_device_train_batch_size=3, gradient_accumulation_steps=2,
    )  # fmt: skip
    rows = tiny.rows(tiny.loaded(gemma_folder("gemma3")))
    assert (trial.state.steps_per_epoch, trial.state.total_steps) == (2, 3)
    trial.train()
    assert len(recorded.steps) == 3
    assert trial.state.progress.epoch == pytest.approx(1 + 2 / 3)
    seen = sum(row.supervised for row in rows)
    assert seen < trial.state.progress.supervised_tokens < 2 * seen


def test_each_epoch_has_an_order_of_its_own(gemma_folder: Callable[[str], Path]) -> None:
    trial = tiny.trainer(tiny.loaded(gemma_folder("gemma3")))
    loader: Any = trial.state.loader
    orders = []
    for epoch in (0, 1, 0):
        loader.set_epoch(epoch)
        orders.append(order_of(trial))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[1]) == [*range(8)]


class SaveAfter(Hook):
    """Asks for a checkpoint of one step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        state.should_save = result.step == self._step


@pytest.mark.parametrize("saved_after", [2, 3, 4])
def test_it_goes_on_within_an_epoch_and_at_its_end(
    saved_after: int, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Two steps an epoch of four micro-batches: with dropout, so that random numbers count."""
    run = RunDir(tmp_path)
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "max_steps": 5,
        "learning_rate": 1e-2, "adapter": tiny.ADAPTER.model_copy(update={"lora_dropout": 0.2}),
    }  # fmt: skip
    whole = Recorded()
    save = SaveCheckpoints(EventLog(run), Checkpoints(run, 1, {}))
    folder = gemma_folder("gemma3")
    tiny.trainer(tiny.loaded(folder), whole, SaveAfter(saved_after), save, **settings).train()
    checkpoint, _ = checkpoint_manifest.newest(run)
    assert checkpoint
    rest = Recorded()
    tiny.trainer(tiny.loaded(folder), rest, **settings).train(checkpoint.folder)
    assert rest.steps == whole.steps[saved_after:]


def test_steps_are_sampled_but_for_the_last(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """After that the run answers by itself, once its adapter is saved."""
    run, gemma = RunDir(tmp_path), tiny.loaded(gemma_folder("gemma3"))
    log, control = EventLog(run), RunControl(run)
    trial = tiny.trainer(gemma, max_steps=4)
    form = template(dialect_of(gemma.model.config.to_dict()))
    answers = Answers(trial.model, gemma.tokenizer, form, log, control)
    samples = Samples(prompts=("Hello!",), every=2, max_new_tokens=2)
    trial.hooks = (SampleAnswers(answers, samples, control),)
    trial.train()
    told = [decode(line) for line in run.events.read_bytes().splitlines()]
    assert [event.step for event in told if isinstance(event, Sample)] == [2]
