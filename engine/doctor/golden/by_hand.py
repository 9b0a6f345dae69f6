"""Optimizer steps on an adapter by hand, in float64, from what its layers saw.

A layer that gives W x + s B A x, with the gradient G of the loss by its output, has the gradients
dB = s G^T (x A^T) and dA = s (G B)^T x (Hu et al., "LoRA", 2021, section 4.1). AdamW is that of
Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019), algorithm 2.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from engine.model.protocols import LanguageModel
from engine.recipe.schema import Adapter, Training
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
Weights = dict[str, torch.Tensor]
"""By layer and half, such as `layers.0.mlp.up_proj A`; float64."""
Passes = dict[str, list[tuple[torch.Tensor, torch.Tensor]]]
"""By layer: inputs (tokens, inputs) and gradients of outputs (tokens, outputs) of a step."""


def weights_of(model: torch.nn.Module) -> Weights:
    """A copy of an adapter's weights."""
    return {
        f"{name} {half}": halves["default"].weight.detach().double()
        for name, layer in _layers(model).items()
        for half, halves in (("A", layer.lora_A), ("B", layer.lora_B))
    }


def _layers(model: LanguageModel | torch.nn.Module) -> dict[str, Any]:
    return {name: each for name, each in model.named_modules() if isinstance(each, LoraLayer)}


class Witness(Hook):
    """Keeps what each layer of an adapter sees, step by step."""

    def __init__(self) -> None:
        self.steps: list[Passes] = []
        self.norms: list[float] = []
        """Of each step's gradients before they are clipped, as the loop tells them."""

    def on_train_begin(self, state: TrainingState) -> None:
        """Listen to every layer."""
        for name, layer in _layers(state.model).items():
            layer.register_forward_hook(self._listener(name))

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Begin a step anew."""
        self.steps.append({})
        self.norms.append(result.metrics["grad_norm"])

    def _listener(self, name: str) -> Any:
        if not self.steps:
            self.steps.append({})

        def listen(module: Any, args: Any, output: torch.Tensor) -> None:
            inputs = args[0].detach().flatten(0, -2).double()
            passes = self.steps[-1].setdefault(name, [])
            output.register_hook(
                lambda gradient: passes.append((inputs, gradient.flatten(0, -2).double()))
            )

        return listen


@dataclass(frozen=True, slots=True)
class Rules:
    """What a step does; the recipe's own, or those of a known bug."""

    training: Training
    scale: float
    total_steps: int
    decaying: str = "AB"
    """Halves of an adapter whose weights decay."""
    adds_decay_to_gradient: bool = False
    scales_decay_by_schedule: bool = False
    """And not by the learning rate."""
    decay_surprise: float = 0.0
    clips: str = "by norm"
    """`by norm`, `by each norm`, `by value` or `never`."""
    betas: tuple[float, float] = _BETAS
    epsilon: float = _EPSILON
    corrects_bias: bool = True
    is_trained: bool = True
    keeps_gradients: bool = False
    """Whether those of a step are added to the next one's."""
    counts_last_alone: bool = False
    """Whether only the last micro-batch's gradients count."""
    faster: str = "B"
    """The half that is trained at LoRA+'s rate, if any."""
    late_steps: int = 0
    """By how many steps the schedule runs behind."""
    follows_schedule: bool = True
    forgets_moments_after: int = 0
    """The step after which moments begin anew, as by a resumption; 0 for none."""
    restarts_schedule_after: int = 0
    rounds_weights_after: int = 0
    """The step after which weights are rounded to bfloat16, as by a checkpoint; 0 for none."""

    def decay(self, half: str) -> float:
        """Weight decay of a step, as a share of the learning rate."""
        if half not in self.decaying:
            return 0.0
        decay = self.training.weight_decay + self.decay_surprise
        return decay / self.training.learning_rate if self.scales_decay_by_schedule else decay

    def rate_of(self, half: str, step: int) -> float:
        """The learning rate of a half: that of B is LoRA+'s times as high."""
        ratio = self.training.loraplus_lr_ratio if half == self.faster else 1.0
        return self.rate(step) * ratio

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, as transformers schedules it."""
        if not self.follows_schedule:
            return self.training.learning_rate
        if self.restarts_schedule_after and step >= self.restarts_schedule_after:
            step -= self.restarts_schedule_after
        step = max(step - self.late_steps, 0)
        warmup = int(self.training.warmup_steps)
        if step < warmup:
            return self.training.learning_rate * step / warmup
        done = (step - warmup) / max(self.total_steps - warmup, 1)
        shares = {
            "cosine": 0.5 * (1 + math.cos(math.pi * done)),
            "linear": 1 - done,
            "constant": 1.0,
        }
        return self.training.learning_rate * shares[self.training.lr_scheduler_type]


def rules_of(training: Training, adapter: Adapter, total_steps: int) -> Rules:
    """The recipe's."""
    root = math.sqrt(adapter.r) if adapter.use_rslora else adapter.r
    return Rules(training, adapter.lora_alpha / root, total_steps)


@dataclass(slots=True)
class _Moments:
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)
    count: int = 0


def weights_after(
    start: Weights, steps: Sequence[Passes], rules: Rules, resumed_after: int = 0
) -> Weights:
    """The weights after these steps."""
    weights, moments = {name: tensor.clone() for name, tensor in start.items()}, _Moments()
    earlier: Weights = {}
    for number, passes in enumerate(steps if rules.is_trained else ()):
        if rules.forgets_moments_after and number == rules.forgets_moments_after:
            moments = _Moments()
        if rules.rounds_weights_after and number == rules.rounds_weights_after:
            weights = {name: each.bfloat16().double() for name, each in weights.items()}
        first = -1 if rules.counts_last_alone else 0
        counting = {name: pairs[first:] for name, pairs in passes.items()}
        gradients = gradients_of(weights, counting, rules.scale)
        if earlier and number != resumed_after:
            gradients = {name: each + earlier[name] for name, each in gradients.items()}
        gradients = _clipped(gradients, rules)
        earlier = gradients if rules.keeps_gradients else {}
        moments.count += 1
        for name, gradient in gradients.items():
            _update(weights, name, gradient, moments, rules, number)
    return weights


def gradients_of(weights: Weights, passes: Passes, scale: float) -> Weights:
    """The gradients of a step, by layer and half."""
    gradients = {}
    for name, pairs in passes.items():
        down, up = weights[f"{name} A"], weights[f"{name} B"]
        gradients[f"{name} A"] = scale * torch.stack([(g @ up).T @ x for x, g in pairs]).sum(0)
        gradients[f"{name} B"] = scale * torch.stack([g.T @ (x @ down.T) for x, g in pairs]).sum(0)
    return gradients


def _clipped(gradients: Weights, rules: Rules) -> Weights:
    bound = rules.training.max_grad_norm
    if rules.clips == "by value":
        return {name: each.clamp(-bound, bound) for name, each in gradients.items()}
    if rules.clips == "never":
        return gradients
    norms = {name: float(each.norm()) for name, each in gradients.items()}
    if rules.clips == "by norm":
        norms = dict.fromkeys(norms, math.hypot(*norms.values()))
    return {name: min(1.0, bound / (norms[name] + 1e-6)) * each for name, each in gradients.items()}


def norm_of(start: Weights, first: Passes, rules: Rules) -> float:
    """Of the gradients of the first step, before they are clipped."""
    gradients = gradients_of(start, first, rules.scale)
    return math.hypot(*(float(each.norm()) for each in gradients.values()))


def _update(
    weights: Weights,
    name: str,
    gradient: torch.Tensor,
    moments: _Moments,
    rules: Rules,
    step: int,
) -> None:
    half = name[-1]
    rate, decay = rules.rate_of(half, step), rules.decay(half)
    if rules.adds_decay_to_gradient or rules.training.optim == "sgd":
        gradient = gradient + decay * weights[name]
    else:
        weights[name] *= 1 - rate * decay
    if rules.training.optim == "sgd":
        weights[name] -= rate * gradient
        return
    first, second = rules.betas
    zeros = torch.zeros_like(gradient)
    mean = first * moments.first.get(name, zeros) + (1 - first) * gradient
    square = second * moments.second.get(name, zeros) + (1 - second) * gradient**2
    moments.first[name], moments.second[name] = mean, square
    if rules.corrects_bias:
        mean = mean / (1 - first**moments.count)
        square = square / (1 - second**moments.count)
    weights[name] -= rate * mean / (square.sqrt() + rules.epsilon)


def known_bugs(rules: Rules, resumed_after: int) -> Mapping[str, Rules]:
    """Wrong rules by what their bug is called, most telling first."""
    return {
        **_bugs_of_gradients(rules),
        **_bugs_of_decay(rules),
        **_bugs_of_rates(rules),
        **_bugs_of_adam(rules),
        **_bugs_between_steps(rules, resumed_after),
    }


def _bugs_of_gradients(rules: Rules) -> dict[str, Rules]:
    wrong = partial(replace, rules)
    return {
        "nothing is trained: the optimizer holds copies of the adapter's weights, or none": wrong(
            is_trained=False
        ),
        "gradients are not clipped": wrong(clips="never"),
        "gradients are clipped value by value, not by their norm": wrong(clips="by value"),
        "each tensor's gradient is clipped by its own norm, not by that of all": wrong(
            clips="by each norm"
        ),
        "gradients of all micro-batches but the last are lost": wrong(counts_last_alone=True),
        "gradients of a step are not cleared before the next": wrong(keeps_gradients=True),
    }


def _bugs_of_decay(rules: Rules) -> dict[str, Rules]:
    wrong, decay = partial(replace, rules), rules.training.weight_decay
    return {
        "weights do not decay as the recipe says": wrong(decaying=""),
        **{f"only {half} decays, of an adapter's A and B": wrong(decaying=half) for half in "AB"},
        "weight decay is not scaled by the learning rate": wrong(scales_decay_by_schedule=True),
        "weight decay is added to the gradient, not taken from the weights": wrong(
            adds_decay_to_gradient=True
        ),
        "weight decay is taken twice": wrong(decay_surprise=decay),
        **{
            f"weights decay by {surprise}, which the recipe doesn't say": wrong(
                decay_surprise=surprise - decay
            )
            for surprise in (0.01, 0.1)
        },
    }


def _bugs_of_rates(rules: Rules) -> dict[str, Rules]:
    wrong = partial(replace, rules)
    return {
        "the learning rate keeps to no schedule": wrong(follows_schedule=False),
        "the learning rate's schedule runs a step ahead": wrong(late_steps=-1),
        "the learning rate's schedule runs a step behind": wrong(late_steps=1),
        "the warm-up of the learning rate is left out": wrong(
            training=rules.training.model_copy(update={"warmup_steps": 0.0})
        ),
        "LoRA+ gives both halves of an adapter the same rate": wrong(faster=""),
        "LoRA+ gives A the rate that is B's": wrong(faster="A"),
    }


def _bugs_of_adam(rules: Rules) -> dict[str, Rules]:
    wrong = partial(replace, rules)
    return {
        "Adam's moments are not corrected for their start at zero": wrong(corrects_bias=False),
        **{
            f"Adam's betas are {betas}, not {_BETAS}": wrong(betas=betas)
            for betas in ((0.9, 0.99), (0.9, 0.95), (0.95, 0.999), _BETAS[::-1])
        },
        **{
            f"Adam's epsilon is {epsilon}, not {_EPSILON}": wrong(epsilon=epsilon)
            for epsilon in (1e-7, 1e-6, 1e-5, 1e-4)
        },
    }


def _bugs_between_steps(rules: Rules, resumed_after: int) -> dict[str, Rules]:
    wrong = partial(replace, rules)
    if not resumed_after:
        return {"Adam's moments are forgotten between steps": wrong(forgets_moments_after=1)}
    return {
        "a resumption forgets Adam's moments": wrong(forgets_moments_after=resumed_after),
        "a resumption begins the learning rate's schedule anew": wrong(
            restarts_schedule_after=resumed_after
        ),
        "an adapter is rounded to bfloat16 as it is saved": wrong(
            rounds_weights_after=resumed_after
        ),
    }


def known_scales(rules: Rules, adapter: Adapter) -> Mapping[str, Rules]:
    """Wrong scales of an adapter's update, by what they are called."""
    alpha, r = adapter.lora_alpha, adapter.r
    scales = {
        "lora_alpha / sqrt(r)": alpha / math.sqrt(r),
        "lora_alpha / r": alpha / r,
        "lora_alpha": float(alpha),
        "1": 1.0,
        "1 / r": 1 / r,
    }
    right = next(name for name, scale in scales.items() if scale == rules.scale)
    return {
        f"the adapter's update is scaled by {name}, not {right}": replace(rules, scale=scale)
        for name, scale in scales.items()
        if scale != rules.scale
    }


def error(own: Weights, right: Weights, start: Weights) -> float:
    """The largest difference of a tensor, relative to how far it was to move.

    A tensor that was to stay, as A does in the first step, is measured by a thousandth of its size.
    """
    errors = [
        float((own[name] - each).norm())
        / max(float((each - start[name]).norm()), 1e-3 * float(start[name].norm()), 1e-12)
        for name, each in right.items()
    ]
    return math.inf if any(map(math.isnan, errors)) else max(errors, default=math.inf)
