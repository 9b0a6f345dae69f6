"""The training loop, from micro-batches to the optimizer's step, and the hooks between steps."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import skip_first_batches

from engine.data.images.image_tokenizer import LOOK
from engine.events import Metric
from engine.model.host_embeddings import FETCHED
from engine.objectives.heads import Batch
from engine.run import failpoint
from engine.train import training_state
from engine.train.progress import StepResult
from engine.train.state import TrainingState, restore


class Hook:
    """What happens between steps. Hooks are called one after the other, in their order."""

    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What `measure` may add to a step."""

    def on_train_begin(self, state: TrainingState) -> None:
        """Everything is prepared; after a resumption the checkpoint is restored."""

    def on_step_begin(self, state: TrainingState) -> None:
        """The micro-batches of a step are there."""

    def on_gradients(self, state: TrainingState) -> None:
        """Gradients are clipped; the optimizer takes them next."""

    def measure(self, state: TrainingState, result: StepResult) -> Mapping[str, float]:
        """Figures to be told with this step, by the names in `metrics`."""
        return {}

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """The step was taken, and all of its metrics are there."""


def train(state: TrainingState, hooks: Sequence[Hook], checkpoint: Path | None = None) -> None:
    """Take the steps that are left, of the whole run or from a checkpoint on.

    Raises `NotFinite` where a gradient is no number and the run is to end by that.
    """
    _prepare(state)
    random_state = restore(state, checkpoint) if checkpoint else None
    began = time.monotonic() - state.progress.elapsed_s
    for hook in hooks:
        hook.on_train_begin(state)
    for batches, wait_s in _steps(state, random_state):
        for hook in hooks:
            hook.on_step_begin(state)
        result = _optimizer_step(state, hooks, batches, wait_s)
        _advance(state, result, elapsed_s=time.monotonic() - began)
        for hook in hooks:
            result.metrics.update(hook.measure(state, result))
        state.last_metrics = result.metrics
        for hook in hooks:
            hook.on_step_end(state, result)
        if state.should_stop:
            return


def _prepare(state: TrainingState) -> None:
    """Wrap the model as the accelerator needs it; compute activations anew where asked for."""
    if state.training.gradient_checkpointing:
        # A frozen embedding's output has to ask for gradients, or none would flow.
        state.model.enable_input_require_grads()
        state.model.gradient_checkpointing_enable({"use_reentrant": state.use_reentrant})
    state.model = state.accelerator.prepare(state.model)
    state.model.zero_grad()


def _steps(
    state: TrainingState, random_state: dict[str, Any] | None
) -> Iterator[tuple[list[Batch], float]]:
    """Yield the micro-batches of each step that is left, and the seconds until they were there.

    An epoch's last step may have fewer.
    """
    accumulation = state.training.gradient_accumulation_steps
    while state.progress.step < state.total_steps:
        epoch, passed_steps = divmod(state.progress.step, state.steps_per_epoch)
        loader = skip_first_batches(state.loader, passed_steps * accumulation)
        if random_state and not passed_steps:
            # An epoch begins by drawing a number; within one it was drawn before the checkpoint.
            training_state.restore_random(random_state, state.accelerator.device)
            random_state = None
        loader.set_epoch(epoch)
        epoch_batches = iter(loader)
        began = time.monotonic()
        while batches := list(islice(epoch_batches, accumulation)):
            wait_s = time.monotonic() - began
            if random_state:
                training_state.restore_random(random_state, state.accelerator.device)
                random_state = None
            yield batches, wait_s
            if state.progress.step >= state.total_steps:
                return
            began = time.monotonic()


def _optimizer_step(
    state: TrainingState, hooks: Sequence[Hook], batches: list[Batch], wait_s: float
) -> StepResult:
    """Accumulate gradients over micro-batches, clip them, and let the optimizer take them.

    `wait_s` are the seconds that passed until these were there.
    """
    began = time.monotonic()
    result = _accumulate(state, batches)
    max_norm = state.training.max_grad_norm
    norm = state.accelerator.clip_grad_norm_(state.model.parameters(), max_norm)
    result.metrics["grad_norm"] = float(norm)
    result.metrics["learning_rate"] = float(state.schedule.get_last_lr()[0])
    if not state.guard.should_step(result):
        # An optimizer passes over what has no gradient, its moments and decay included.
        state.model.zero_grad(set_to_none=True)
    for hook in hooks:
        hook.on_gradients(state)
    state.optimizer.step()
    if not state.accelerator.optimizer_step_was_skipped:
        state.schedule.step()
    state.model.zero_grad()
    result.duration_s = wait_s + time.monotonic() - began
    result.data_wait_s += wait_s
    return result


def _accumulate(state: TrainingState, batches: list[Batch]) -> StepResult:
    """Forward and backward passes of a step, whose loss is one mean over all of its tokens.

    Each micro-batch is divided by the weight of the whole step, so that 1 x 8 and 8 x 1 rows give
    the same gradients however long their answers are.
    """
    device = state.accelerator.device
    weights = [state.objective.weight(batch).to(device) for batch in batches]
    # Gradients are averaged over processes, not summed: hence the mean weight of a process.
    weight = state.world.sum(torch.stack(weights).sum()) / state.world.size
    loss, sums, wait_s = torch.zeros((), device=device), [], 0.0
    for number, batch in enumerate(batches, start=1):
        state.batch_shape = tuple(batch["input_ids"].shape)
        failpoint.reached("train.batch")
        tokens = (batch["input_ids"] != state.pad_token_id).sum()
        is_last = number == len(batches)
        state.model.train()
        began = time.monotonic()
        inputs = _inputs(batch, device)
        wait_s += time.monotonic() - began
        with nullcontext() if is_last else state.accelerator.no_sync(state.model):
            part = state.objective.loss(state.score, inputs)
            del inputs
            share = part.total / weight
            state.accelerator.backward(share)
        loss += share.detach()
        names = [*part.sums]
        counts = tokens, part.supervised, weights[number - 1]
        sums.append(torch.stack([*counts, *part.sums.values()]))
        # What is left of the graph goes before the next one is built.
        del part, share
    return _result(state, loss, torch.stack(sums).sum(0), names, wait_s)


def _result(
    state: TrainingState, loss: torch.Tensor, sums: torch.Tensor, names: list[str], wait_s: float
) -> StepResult:
    """The step's figures, read from the device once.

    `sums` is (3 + names,): int64, or float32 (exact up to 16 million tokens) as the weights are.
    """
    loss, sums = state.world.sum(loss) / state.world.size, state.world.sum(sums)
    tokens, supervised, weight, *counts = sums.tolist()
    shares = {name: n / (weight or 1) for name, n in zip(names, counts, strict=True)}
    step = state.progress.step + 1
    figures = {"loss": float(loss), **shares}
    return StepResult(step, int(tokens), int(supervised), figures, data_wait_s=wait_s)


def _inputs(batch: Batch, device: torch.device) -> Batch:
    """What the model takes: rows of a host table announced to it, pixels on the device."""
    inputs = dict(batch)
    if FETCHED in inputs:
        inputs.pop(FETCHED).announce()
    if LOOK in inputs:
        inputs |= inputs.pop(LOOK).on(device)
    return inputs


def _advance(state: TrainingState, result: StepResult, elapsed_s: float) -> None:
    """Count a step that was taken, or left out by the guard."""
    progress = state.progress
    epoch, earlier_steps = divmod(progress.step, state.steps_per_epoch)
    batches = (earlier_steps + 1) * state.training.gradient_accumulation_steps
    progress.epoch = epoch + min(batches, len(state.loader)) / len(state.loader)
    progress.step = result.step
    progress.tokens += result.tokens
    progress.supervised_tokens += result.supervised_tokens
    progress.elapsed_s = elapsed_s
    progress.skipped_steps = state.guard.skipped
