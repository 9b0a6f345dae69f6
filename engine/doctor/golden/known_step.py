"""Checks of the optimizer's step: what the loop leaves in an adapter, against steps by hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from engine.data.batches import TokenSequence, alone
from engine.doctor.check import Measurement, check
from engine.doctor.golden import by_hand, truth
from engine.doctor.golden.by_hand import Rules, Witness
from engine.doctor.specimens import Specimens
from engine.doctor.trial import Trial
from engine.recipe.schema import Adapter
from engine.run.rundir import RunDir
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.saving.checkpoints import Checkpoints
from engine.train.state import TrainingState

_REMEDY = "Do not rely on adapters that are trained here; install the tested versions"
_KIND = "embedded"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run of a few steps whose weights are known."""

    steps: int
    adapter: Adapter
    settings: dict[str, Any]
    resumed_after: int = 0
    """The step at which it is interrupted; 0 for none."""


_SGD = Plan(
    1,
    Adapter(r=4, lora_alpha=8, use_rslora=True),
    {
        "optim": "sgd", "learning_rate": 0.5, "lr_scheduler_type": "constant",
        "warmup_steps": 0.0, "max_grad_norm": 0.05, "per_device_train_batch_size": 4,
    },
)  # fmt: skip
"""Its step is the clipped gradient, so that clipping shows by itself."""
_CHAIN = Plan(
    3,
    Adapter(r=4, lora_alpha=8),
    {
        "optim": "adamw_torch", "learning_rate": 0.02, "lr_scheduler_type": "cosine",
        "warmup_steps": 1.0, "weight_decay": 0.1, "max_grad_norm": 0.05,
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2,
    },
    resumed_after=2,
)  # fmt: skip
_EIGHT_BITS = Plan(
    2,
    Adapter(r=64, lora_alpha=128),
    {
        "optim": "adamw_8bit", "learning_rate": 0.01, "lr_scheduler_type": "linear",
        "warmup_steps": 0.0, "weight_decay": 0.0, "max_grad_norm": 0.05,
        "loraplus_lr_ratio": 4.0, "per_device_train_batch_size": 4,
    },
)  # fmt: skip
"""LoRA+, at a rank where most tensors have the 4,096 numbers that are held in 8 bits."""


@check("known step", limit=1e-3, advice=_REMEDY, is_fast=True, is_golden=True)
def known_step(specimens: Specimens) -> Measurement:
    """One clipped step of plain gradient descent with rsLoRA, B starting at zero."""
    return _measurement(specimens, _SGD, 1e-3)


@check("known chain of steps", limit=1e-3, advice=_REMEDY, is_golden=True)
def known_chain(specimens: Specimens) -> Measurement:
    """Three steps of AdamW with warm-up, decay and accumulation, resumed before the last."""
    return _measurement(specimens, _CHAIN, 1e-3)


@check(
    "known steps of 8-bit AdamW",
    limit=0.1,
    advice='Set training.optim = "adamw_torch" and training.loraplus_lr_ratio = 1.0',
    is_golden=True,
)
def known_eight_bits(specimens: Specimens) -> Measurement:
    """Two steps of LoRA+ with moments in 8 bits against exact ones."""
    return _measurement(specimens, _EIGHT_BITS, 0.1)


def _measurement(specimens: Specimens, plan: Plan, limit: float) -> Measurement:
    rows = [alone(row) for row in truth.rows(_KIND, truth.document()["rows"])[1:]]
    witness = Witness()
    trial = _trial(specimens, rows, plan, witness)
    start = by_hand.weights_of(trial.model)
    if plan.resumed_after:
        run = RunDir(Path(mkdtemp(dir=specimens.folder)))
        trial.hooks = (witness, _Interruption(run, plan.resumed_after))
        trial.train()
        trial = _trial(specimens, rows, plan, witness)
        trial.train(run.checkpoint(plan.resumed_after))
    else:
        trial.train()
    rules = by_hand.rules_of(trial.state.training, plan.adapter, plan.steps)
    own = by_hand.weights_of(trial.model)

    steps = witness.steps[:-1]

    def error(rules: Rules) -> float:
        right = by_hand.weights_after(start, steps, rules, plan.resumed_after)
        return by_hand.error(own, right, start)

    def error_of_scale(rules: Rules) -> float:
        return abs(witness.norms[0] / by_hand.norm_of(start, steps[0], rules) - 1)

    figure, of_scale = error(rules), error_of_scale(rules)
    bug = ""
    if figure > limit:
        bug = _bug(by_hand.known_bugs(rules, plan.resumed_after), error, limit)
    elif of_scale > limit:
        # Clipping hides how long a gradient was, and so by what the adapter's update is scaled.
        bug = _bug(by_hand.known_scales(rules, plan.adapter), error_of_scale, limit)
    text = f"What the loop leaves is what a step leaves if {bug}" if bug else ""
    return Measurement(max(figure, of_scale), text or "No known bug leaves such weights")


def _bug(bugs: Mapping[str, Rules], error: Callable[[Rules], float], limit: float) -> str:
    """What the known bug is called that fits, if any."""
    errors = {text: error(wrong) for text, wrong in bugs.items()}
    best = min(errors, key=lambda text: errors[text])
    return best if errors[best] <= limit else ""


def _trial(specimens: Specimens, rows: list[TokenSequence], plan: Plan, witness: Witness) -> Trial:
    gemma = specimens.gemma(_KIND)
    settings = {**plan.settings, "max_steps": plan.steps}
    return Trial(gemma, rows, witness, adapter=plan.adapter, is_fresh=True, **settings)


class _Interruption(Hook):
    """Saves a checkpoint and ends the run."""

    def __init__(self, run: RunDir, step: int) -> None:
        self._checkpoints = Checkpoints(run, 1, {})
        self._step = step

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """At its step."""
        if result.step == self._step:
            self._checkpoints.save(state)
            state.should_stop = True
