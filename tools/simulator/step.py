"""One optimizer step on fake tensors: every allocation of the real code, without its arithmetic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from engine.budget.step_shape import StepShape
from engine.model.patches.supervised_only import score_supervised_only
from engine.objectives import heads
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
    return trace(build.skeleton(config, case), case, supervised_loss, stop)


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
        stepped = optimizer.settled(taught, case)
        build.hold(tracker, model, case)
        optimizer.hold(tracker, stepped, case)
        batch = _batch(tracker, model, case)
        model.train()
        if case.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        with tracker, moments.named(tracker, model) as layers:
            _run(model, taught, stepped, batch, tracker, case, loss)
        return Simulated(tracker, layers, missing)


def _run(
    model: Any,
    taught: list[torch.nn.Parameter],
    stepped: Any,
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
    optimizer.step(stepped, case)
    stepped.zero_grad(set_to_none=True)


def _name_gradients(tracker: Tracker, taught: list[torch.nn.Parameter]) -> None:
    for parameter in taught:
        if parameter.grad is not None:
            tracker.hold(parameter.grad, "gradients", "gradient")


def _batch(tracker: Tracker, model: Any, case: StepShape) -> Batch:
    """What the engine's collator gives."""
    shape = (case.batch, case.length)
    batch = {
        name: torch.zeros(shape, dtype=torch.int64, device="cpu")
        for name in ("input_ids", "labels", "position_ids")
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


def supervised_loss(model: Any, batch: Batch, tracker: Tracker, case: StepShape) -> torch.Tensor:
    """The engine's loss, a mean over the supervised tokens."""
    if case.has_own_head:
        scores = heads.by_own_head(model, batch, autocast(case))
    else:
        with autocast(case):
            scores = heads.by_trl(model, batch)
    return scores.loss / scores.supervised
