"""Whether the loss is computed on capped logits."""

import math

import torch

from engine.data.batches import alone
from engine.data.tokens import IGNORED
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import RecordedStep, Trial
from engine.objectives.heads import by_trl, put_on_trl_head

_CAP = 3.0
"""Lower than Gemma 4's 30, which the logits of a tiny model never come near."""


@check(
    "soft cap applied by the fused head",
    limit=1e-3,
    advice="Do not train Gemma 4 here; install the tested versions: the loss is of other logits "
    "than the model answers with",
    is_fast=True,
)
def soft_cap(specimens: Specimens) -> Measured:
    """The trainer's loss, and TRL's, against cross-entropy over all logits of transformers' own."""
    gemma = specimens.gemma("embedded")
    config = gemma.model.config.get_text_config()
    config.final_logit_softcapping = _CAP
    recorded = RecordedStep()
    sequences = [alone(row) for row in rows(gemma)]
    trial = Trial(gemma, sequences, recorded, per_device_train_batch_size=len(sequences))
    put_on_trl_head(trial.model)
    batch = trial.batch()
    capped = _cross_entropy(trial.model, batch)
    config.final_logit_softcapping = None
    uncapped = _cross_entropy(trial.model, batch)
    config.final_logit_softcapping = _CAP
    with torch.no_grad():
        scores = by_trl(trial.model, batch)
    trial.train()
    losses = (recorded.losses[0], float(scores.loss / scores.supervised))
    effect = abs(capped - uncapped)
    told = f"Without the cap the loss would be {effect:.2g} off"
    is_blind = not effect > 0.1
    off = max(abs(loss - capped) for loss in losses)
    return Measured(math.inf if is_blind else off, told)


def _cross_entropy(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> float:
    with torch.no_grad():
        outputs = model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        )
    logits, labels = outputs.logits[:, :-1], batch["labels"][:, 1:]
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED
    )
    return float(loss)
