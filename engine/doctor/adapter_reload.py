"""Whether an adapter that was saved and loaded is the one that was trained."""

import math
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from engine.data.batches import alone
from engine.data.template import template
from engine.doctor.check import Measured, check
from engine.doctor.specimens import SHARING, Specimens, rows
from engine.doctor.trial import Trial
from engine.gemma.config import dialect_of
from engine.model.adapter_switch import attach, read
from engine.problems import Refusal
from engine.run.adapters import Adapter
from engine.run.rundir import RunDir
from engine.train.checkpoints import save_adapter


@check(
    "adapter reload equals adapter trained",
    limit=1e-5,
    advice="Install the tested versions, and do not rely on saved adapters: they lose weights",
)
def adapter_reload(specimens: Specimens) -> Measured:
    """Logits of a trained model against those of a fresh base with the saved adapter."""
    try:
        return Measured(max(_difference(specimens, kind) for kind in SHARING))
    except Refusal as refusal:
        return Measured(math.inf, refusal.problems[0].reason)


def _difference(specimens: Specimens, kind: str) -> float:
    gemma = specimens.gemma(kind)
    given = rows(gemma)
    base = _logits(gemma.model, given[0].ids)
    trial = Trial(gemma, [alone(row) for row in given], max_steps=2, warmup_steps=0.0)
    trial.train()
    trained = _logits(trial.model, given[0].ids)
    run = RunDir(Path(mkdtemp(dir=specimens.folder)))
    save_adapter(run, trial.model)
    fresh = specimens.gemma(kind)
    weights = read(Adapter("adapter", None, run.adapter), specimens.choice(kind))
    chosen = template(dialect_of(fresh.model.config.to_dict()))
    adapted = attach(fresh, chosen, weights)
    with adapted.use("adapter"):
        loaded = _logits(adapted.model, given[0].ids)
    is_blind = float((trained - base).abs().max()) < 1e-2
    return math.inf if is_blind else float((trained - loaded).abs().max())


def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    return logits
