"""One optimizer step on fake tensors: every allocation of the real code, without its arithmetic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from trl.models.utils import disable_gradient_checkpointing

from engine.budget.step_shape import StepShape
from engine.model.patches.supervised_only import score_supervised_only
from engine.train import scoring
from tools.simulator import build, moments, optimizer, patches, unsized, workspace
from tools.simulator.tracker import Moment, Tracker

Batch = dict[str, torch.Tensor]
Loss = Callable[[Any, Batch, Tracker, StepShape], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Simulated:
    """A step's trace, and the private functions that were not there to be replaced."""

    tracker: Tracker
    layers: int
    missing: list[str]


def simulate(config: Any, case: StepShape, stop: Callable[[], None] = lambda: None) -> Simulated:
    """Run a case's step on a model of that configuration; `stop` may raise to end it early."""
    return trace(build.skeleton(config, case), case, _LOSSES[case.objective], stop)


def trace(model: Any, case: StepShape, loss: Loss, stop: Callable[[], None]) -> Simulated:
    """Run a step of a model on the meta device under a loss of its own."""
    optimizer.prepare()
    score_supervised_only()
    tracker = Tracker(
        workspace.of_cuda() if case.device == "cuda" else {}, unsized.substitutes(case)
    )
    tracker.stop = stop
    with (
        patches.replaced(patches.of_case(case)) as missing,
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        build.fill(model, case)
        taught = [parameter for parameter in model.parameters() if parameter.requires_grad]
        taken = optimizer.settled(taught, case)
        build.hold(tracker, model, case)
        optimizer.hold(tracker, taken, case)
        batch = _batch(tracker, model, case)
        model.train()
        if case.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        with tracker, moments.named(tracker, model) as layers:
            _run(model, taught, taken, batch, tracker, case, loss)
        return Simulated(tracker, layers, missing)


def _run(
    model: Any,
    taught: list[torch.nn.Parameter],
    taken: Any,
    batch: Batch,
    tracker: Tracker,
    case: StepShape,
    loss: Loss,
) -> None:
    if case.accumulates:
        for parameter in taught:
            parameter.grad = torch.zeros_like(parameter)
    _name_gradients(tracker, taught)
    tracker.moment = Moment("forward")
    value = loss(model, batch, tracker, case)
    tracker.moment = Moment("backward")
    value.backward()
    _name_gradients(tracker, taught)
    tracker.moment = Moment("optimizer step")
    del value
    at_once = True if case.device == "cuda" else None
    torch.nn.utils.clip_grad_norm_(taught, 1.0, foreach=at_once)
    optimizer.step(taken, case)
    taken.zero_grad(set_to_none=True)


def _name_gradients(tracker: Tracker, taught: list[torch.nn.Parameter]) -> None:
    for parameter in taught:
        if parameter.grad is not None:
            tracker.hold(parameter.grad, "gradients", "gradient")


def _batch(tracker: Tracker, model: Any, case: StepShape) -> Batch:
    """What the engine's collator gives, or for preferences TRL's."""
    shape = (case.sequences, case.length)
    third = "position_ids" if case.objective == "sft" else "attention_mask"
    batch = {
        name: torch.zeros(shape, dtype=torch.int64, device="cpu")
        for name in ("input_ids", "labels", third)
    }
    for name, tensor in batch.items():
        tracker.hold(tensor, "batch", name)
    return batch


@contextmanager
def autocast(case: StepShape) -> Iterator[None]:
    """Mixed precision as the trainer has it."""
    if not case.is_autocast:
        yield
        return
    with torch.autocast("cpu", getattr(torch, case.dtype)):
        yield


def _sft(model: Any, batch: Batch, tracker: Tracker, case: StepShape) -> torch.Tensor:
    if case.has_own_head:
        scores = scoring.by_own_head(model, batch, autocast(case))
    else:
        with autocast(case):
            scores = scoring.by_trl(model, batch)
    return scores.loss / scores.supervised


def _dpo(model: Any, batch: Batch, tracker: Tracker, case: StepShape) -> torch.Tensor:
    """Rafailov et al. 2023, equation 7; chosen rows stand before rejected ones, as in TRL.

    What the batch calls labels is TRL's mask of completions, from which it makes them.
    """
    labels = batch["input_ids"].masked_fill(batch["labels"] == 0, -100)
    batch = {**batch, "labels": labels}
    with autocast(case):
        outputs = model(**batch, use_cache=False, fused_lm_head=True)
    policy = outputs.log_probs.sum(1)
    chosen, rejected = (policy - _reference(model, batch, policy, tracker, case)).chunk(2)
    return -functional.logsigmoid(0.1 * (chosen - rejected)).mean()


def _reference(
    model: Any, batch: Batch, policy: torch.Tensor, tracker: Tracker, case: StepShape
) -> torch.Tensor:
    """Log-probabilities under the model without its adapter."""
    if case.objective == "dpo_cached":
        return torch.zeros_like(policy, requires_grad=False)
    tracker.moment = Moment("reference forward")
    with (
        torch.no_grad(),
        disable_gradient_checkpointing(model, {"use_reentrant": False}),
        model.disable_adapter(),
        autocast(case),
    ):
        outputs = model(**batch, use_cache=False, fused_lm_head=True)
        summed: torch.Tensor = outputs.log_probs.sum(1)
    tracker.moment = Moment("forward")
    return summed


_LOSSES: dict[str, Loss] = {"sft": _sft, "dpo": _dpo, "dpo_cached": _dpo}
