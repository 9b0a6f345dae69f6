"""How much a tiny Gemma rounds in bfloat16, module by module.

Losses and outputs in bfloat16 differ between processors, which add up in other orders. The error
that a module adds does not: it and its like in float32 get the same inputs and weights, and their
outputs differ by the rounding of all that is computed in bfloat16. Its size is the median over
tokens, as a rounding may lead a token to another expert.
"""

import math
import re
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from engine.data.batches import alone
from engine.data.encoding.tokens import Tokens
from engine.doctor.golden import by_hand
from engine.doctor.golden.by_hand import Weights, Witness
from engine.doctor.golden.figures import ROTARY, fill_adapter, is_stage, listening, tensor_of
from engine.doctor.trial import ADAPTER, RecordedStep, Trial
from engine.model import lora
from engine.model.load import Loaded
from engine.model.protocols import AdaptedModel

_HALF_A_ROUNDING = 8e-4
"""Relative; below that it is of no matter how often a module rounds."""
_OF_KERNELS = re.compile(r"layer(\.(self_attn|mlp|experts)(\.\w+_proj)?)?|gradients\..")


def measured(gemma: Loaded, exact: Loaded, rows: Sequence[Tokens]) -> dict[str, float]:
    """The error that each module adds, relative to its output, by its name without its layer.

    Of a step on the first row with a seeded adapter, whose gradients are compared with those by
    hand. In the order in which modules end. `exact` is the same model, loaded in float32.
    """
    witness, recorded = Witness(), RecordedStep()
    trial = Trial(gemma, [alone(rows[0])], witness, recorded)
    fill_adapter(trial.model, with_update=True)
    weights = by_hand.weights_of(trial.model)
    with _compared(trial.model, _with_weights(exact, trial.model), len(rows[0].ids)) as errors:
        trial.train()
    added = {role: float(torch.cat(parts).median()) for role, parts in errors.items()}
    scale = ADAPTER.lora_alpha / ADAPTER.r
    right = by_hand.gradients_of(weights, witness.steps[0], scale)
    return added | {f"gradients.{half}": _error(recorded, right, half) for half in ("A", "B")}


def _error(recorded: RecordedStep, right: Weights, half: str) -> float:
    """Of all gradients of A or of B, relative to their size."""
    names = [name.removesuffix(f" {half}") for name in right if name.endswith(half)]
    own = [recorded.gradients[f"{name}.lora_{half}.default.weight"] for name in names]
    exact = [right[f"{name} {half}"] for name in names]
    off = sum(float((one - other).norm() ** 2) for one, other in zip(own, exact, strict=True))
    return (off / sum(float(each.norm() ** 2) for each in exact)) ** 0.5


def excess(role: str, golden: float, own: float) -> float:
    """By what share a module adds more error than it should; below 0 less.

    Kernels choose where they round: eager attention adds half as much again as fused one does,
    PEFT's layers a fourteenth more than the engine's. So theirs counts a tenth.
    """
    share = (own - golden) / max(golden, _HALF_A_ROUNDING)
    share = math.inf if math.isnan(share) else share
    return share / 10 if _OF_KERNELS.fullmatch(role) else share


def _with_weights(exact: Loaded, model: AdaptedModel) -> AdaptedModel:
    """A model in float32 with another's weights; what is no weight stays as it was loaded."""
    adapted, weights = lora.attach(exact.model, ADAPTER, 0), dict(model.named_parameters())
    for name, parameter in adapted.named_parameters():
        parameter.data.copy_(weights[name])
    return adapted


@contextmanager
def _compared(
    model: AdaptedModel, exact: AdaptedModel, length: int
) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Fill a dictionary with the errors of each role's modules, (tokens,) each."""
    modules, twins = (dict(_decoder(each).named_modules()) for each in (model, exact))
    errors: dict[str, list[torch.Tensor]] = {}

    @torch.no_grad()
    def hear(name: str, args: Any, kwargs: Any, output: Any) -> None:
        with torch.autocast("cpu", enabled=False):
            right = _by_token(twins[name](*_wide(args), **_wide(kwargs)), length)
        role = f"{name}.{args[2]}" if name == ROTARY else re.sub(r"layers\.\d+", "layer", name)
        off = (_by_token(output, length) - right).norm(dim=1) / right.norm(dim=1).clamp(1e-9)
        errors.setdefault(role, []).append(off)

    compared = {
        name: module
        for name, module in modules.items()
        if is_stage(name) or name.endswith("mlp.act_fn")
    }
    with listening(compared, hear):
        yield errors


def _decoder(model: AdaptedModel) -> torch.nn.Module:
    decoder: torch.nn.Module = model.get_base_model().get_decoder()
    return decoder


def _by_token(output: Any, length: int) -> torch.Tensor:
    """(tokens, numbers) in float32."""
    tensor = tensor_of(output)
    return tensor.movedim(list(tensor.shape).index(length), 0).reshape(length, -1).float()


def _wide(value: Any) -> Any:
    """In float32, down to the tensors."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple):
        return tuple(map(_wide, value))
    if isinstance(value, MutableMapping):
        shared: Any = type(value)
        return shared({name: _wide(each) for name, each in value.items()})
    return value
