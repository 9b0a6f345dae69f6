"""Whether the adapter is trained at all: a run can look well and learn nothing.

An optimizer that holds copies, a layer that cuts the gradient or a file with other tensors than the
model's leave loss curves of noise and exit code 0. What is compared here costs two passes over the
adapter in a run.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from peft import get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file

from engine.events import Warned
from engine.model.protocols import AdaptedModel
from engine.run.event_log import EventLog
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState

_SHOWN = 3
"""Names of modules that a warning spells out."""
_DOCTOR = "Stop it, and see gemma-bench doctor: what it trains is not what the model runs on"


class AdapterCheck(Hook):
    """Warns once, after the first step at a rate above zero, of adapter tensors left as they were.

    Steps that the guard or the gradient scaler left out are no evidence, nor is a warm-up's first.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._sums: dict[str, int] = {}
        self._without_gradient: list[str] = []
        self._is_judged = False

    def on_train_begin(self, state: TrainingState) -> None:
        """Keep what every trained tensor comes to."""
        self._sums = bit_sums(state.model)

    def on_gradients(self, state: TrainingState) -> None:
        """See which B matrices got a gradient."""
        if not self._is_judged:
            self._without_gradient = list(_without_gradient(state.model))

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Judge the first step that should have changed something, ahead of its own event."""
        was_skipped = state.accelerator.optimizer_step_was_skipped or not result.is_finite
        if self._is_judged or was_skipped or result.metrics["learning_rate"] <= 0:
            return
        self._is_judged = True
        if bit_sums(state.model) == self._sums:
            self._log.append(_unchanged(len(self._sums), result))
        if self._without_gradient:
            self._log.append(_cut_off(self._without_gradient, result.step))


def bit_sums(model: AdaptedModel) -> dict[str, int]:
    """By name of a trained tensor, the sum of the squares of its entries' bits, read as integers.

    It wraps around at 64 bits. A plain sum would miss that as many entries rise as fall by one step
    of an optimizer that moves all of them alike.
    """
    named = [(name, p.detach()) for name, p in model.named_parameters() if p.requires_grad]
    kinds = {2: torch.int16, 4: torch.int32}
    bits = (p.view(kinds[p.element_size()]).long() for _, p in named)
    sums = [(entries * entries).sum() for entries in bits]
    names = [name for name, _ in named]
    return dict(zip(names, torch.stack(sums).tolist() if sums else [], strict=True))


def judge_saved(model: AdaptedModel, folder: Path) -> Iterator[Warned]:
    """Warn where a saved adapter adds nothing to its base, or isn't the one that was trained."""
    # No table is adapted; "auto" would ask the hub about the base's vocabulary.
    trained = get_peft_model_state_dict(model, save_embedding_layers=False)
    largest_b = [float(t.abs().max()) for name, t in trained.items() if "lora_B" in name]
    if largest_b and not any(largest_b):
        yield Warned(
            code="adapter_is_zero",
            message=f"all {len(largest_b)} B matrices of the adapter are zero (the largest entry "
            "is 0.0): it answers as its base does",
            fix="Where a warm-up had the rate at zero throughout, train more steps; else see "
            "gemma-bench doctor. Don't hand this adapter on: nothing was learned",
        )
    saved = load_file(folder / SAFETENSORS_WEIGHTS_NAME)
    others = [name for name in sorted({*saved, *trained}) if not _is_equal(name, saved, trained)]
    if others:
        yield Warned(
            code="adapter_file_differs",
            message=f"{len(others)} of {len(trained)} tensors in {folder.name}/"
            f"{SAFETENSORS_WEIGHTS_NAME} are not those of the model: {_few(others)}",
            fix="Take a checkpoint's adapter instead, and see gemma-bench doctor",
        )


def _is_equal(name: str, saved: dict[str, torch.Tensor], trained: dict[str, torch.Tensor]) -> bool:
    if name not in saved or name not in trained:
        return False
    return torch.equal(saved[name], trained[name].detach().cpu())


def _without_gradient(model: AdaptedModel) -> Iterator[str]:
    """Names of the modules whose B matrix got no gradient, or one of zeros."""
    named = [(n.partition(".lora_B")[0], p) for n, p in model.named_parameters() if "lora_B" in n]
    flows = [p.grad is not None and bool(p.grad.any()) for _, p in named]
    return (name for (name, _), has_gradient in zip(named, flows, strict=True) if not has_gradient)


def _unchanged(count: int, result: StepResult) -> Warned:
    rate, norm = result.metrics["learning_rate"], result.metrics["grad_norm"]
    return Warned(
        code="adapter_unchanged",
        message=f"step {result.step} changed none of the adapter's {count} tensors, at a learning "
        f"rate of {rate:.2g} and a gradient norm of {norm:.3g}",
        fix=_DOCTOR if norm else "Stop it: no gradient reaches the adapter; see gemma-bench doctor",
    )


def _cut_off(names: list[str], step: int) -> Warned:
    return Warned(
        code="adapter_without_gradient",
        message=f"in step {step} no gradient reached the B matrices of {len(names)} adapted "
        f"modules, which then learn nothing: {_few(names)}",
        fix="Leave them out of adapter.target_modules, or see gemma-bench doctor for the cause",
    )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name.removeprefix("base_model.model.") for name in names[:_SHOWN]) + more
