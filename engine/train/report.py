"""The trainer's callback: figures out as events, wishes in as control."""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
from transformers import TrainerCallback

from engine.events import Mark, Step
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import Want
from engine.train.loss_guards import NotFinite, Spikes, sanity
from engine.train.memory_check import MemoryCheck
from engine.train.token_counts import Tally
from engine.units import GIB


class Report(TrainerCallback):
    """Writes one step event per optimizer step, and obeys viewers between steps."""

    def __init__(
        self,
        log: EventLog,
        wishes: RunControl,
        tally: Tally,
        vocab_size: int,
        save_steps: int,
        sample_every: int,
        sample: Callable[[int], None],
        truth: MemoryCheck,
    ) -> None:
        self._log = log
        self._wishes = wishes
        self._tally = tally
        self._vocab_size = vocab_size
        self._save_steps = save_steps
        self._sample_every = sample_every
        self._sample = sample
        self._truth = truth
        self._began = self._step_began = time.monotonic()
        self._before_s = 0.0
        self._is_first = True
        self._spikes = Spikes()
        self.last: Step | None = None

    def told(self) -> dict[str, Any]:
        """What a checkpoint keeps of the counts."""
        return {
            "tokens": self._tally.tokens,
            "supervised_tokens": self._tally.supervised_tokens,
            "elapsed_s": self.last.elapsed_s if self.last else 0.0,
        }

    def go_on(self, told: dict[str, Any]) -> None:
        """Count on from a checkpoint."""
        self._tally.tokens = told["tokens"]
        self._tally.supervised_tokens = told["supervised_tokens"]
        self._before_s = told["elapsed_s"]
        self._is_first = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock of elapsed_s and the count of memory."""
        self._truth.begin()
        self._began = time.monotonic()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock of tokens_per_s, which leaves out samples and checkpoints."""
        self._step_began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Report a step, then do what was asked for."""
        if "loss" not in logs:
            return
        step = self._step(state, logs)
        if step.loss is not None:
            self._judge(step, step.loss, args.gradient_accumulation_steps)
        self._is_first = False
        self.last = step
        self._log.append(step)
        self._truth.after(step.step)
        self._obey(state, control, was_taken=step.loss is not None and step.grad_norm is not None)

    def _judge(self, step: Step, loss: float, accumulation_steps: int) -> None:
        warnings = [self._spikes.judge(step.step, loss)]
        if self._is_first:
            accuracy = step.token_accuracy or 0.0
            warnings.append(sanity(loss, accuracy, self._vocab_size, accumulation_steps))
        for warning in filter(None, warnings):
            self._log.append(warning)

    def show(self, failed: NotFinite, state: Any) -> None:
        """Report the step that was not taken, so that the loss which was no number is seen."""
        logs = {"loss": failed.loss, "learning_rate": 0.0}
        self._log.append(dataclasses.replace(self._step(state, logs), step=failed.step))

    def _step(self, state: Any, logs: dict[str, Any]) -> Step:
        now = time.monotonic()
        tokens, accuracy = self._tally.close()
        allocated, reserved = accelerator_gib()
        return Step(
            step=state.global_step,
            epoch=round(state.epoch, 4),
            loss=_finite(logs["loss"]),
            token_accuracy=accuracy,
            learning_rate=logs["learning_rate"],
            grad_norm=_finite(logs.get("grad_norm", math.nan)),
            tokens=self._tally.tokens,
            supervised_tokens=self._tally.supervised_tokens,
            tokens_per_s=round(tokens / max(now - self._step_began, 1e-9), 1),
            elapsed_s=round(self._before_s + now - self._began, 3),
            allocated_gib=allocated,
            reserved_gib=reserved,
            rss_gib=round(psutil.Process().memory_info().rss / GIB, 3),
        )

    def _obey(self, state: Any, control: Any, *, was_taken: bool) -> None:
        """A step that was left out is no reason to save: older checkpoints may be the better."""
        self._wishes.poll()
        is_last = state.global_step >= state.max_steps
        if self._wishes.take(Want.MARK):
            self._log.append(Mark(step=state.global_step))
        due = self._sample_every and state.global_step % self._sample_every == 0 and not is_last
        if self._wishes.take(Want.SAMPLE) or due:
            self._sample(state.global_step)
        is_due = bool(self._save_steps) and (state.global_step % self._save_steps == 0 or is_last)
        is_due = is_due and was_taken
        if self._wishes.take(Want.SAVE) or self._wishes.stopped_by or is_due:
            control.should_save = True
        if self._wishes.stopped_by:
            control.should_training_stop = True


def accelerator_gib() -> tuple[float | None, float | None]:
    """Allocated and reserved GiB of the CUDA device; None where there is none."""
    if not torch.cuda.is_available():
        return None, None
    return (
        round(torch.cuda.memory_allocated() / GIB, 3),
        round(torch.cuda.memory_reserved() / GIB, 3),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
