"""Whether a loss that is no number is told as such, and kept from the weights."""

import math
from pathlib import Path
from tempfile import mkdtemp

import torch

from engine import events
from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import Trial
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from engine.train.hooks.step_events import StepEvents, step_event
from engine.train.loop import Hook
from engine.train.loss_guards import NotFinite
from engine.train.state import TrainingState


class _Poison(Hook):
    """Spoils a frozen weight before the second step."""

    def on_step_begin(self, state: TrainingState) -> None:
        """Spoil the weight."""
        if state.progress.step == 1:
            weight = next(p for p in state.model.parameters() if not p.requires_grad)
            weight.data.fill_(math.nan)


@check(
    "NaN shown as NaN",
    limit=0,
    advice="Watch the loss for zeros, and install the tested versions: a loss that is no number "
    "would be shown as one",
)
def nan_shown(specimens: Specimens) -> Measured:
    """Steps without a number that were shown with one or not at all, or that changed weights."""
    gemma = specimens.gemma("embedded")
    run = RunDir(Path(mkdtemp(dir=specimens.folder)))
    log = EventLog(run)
    sequences = [alone(row) for row in rows(gemma)]
    trial = Trial(gemma, sequences, _Poison(), StepEvents(log), max_steps=3)
    try:
        trial.train()
    except NotFinite as failure:
        log.append(step_event(trial.state, failure.result))
    steps = map(events.decode, Tail(run.events).read_new())
    losses = {e.step: e.metrics.get("loss") for e in steps if isinstance(e, events.Step)}
    trained = [p for p in trial.model.parameters() if p.requires_grad]
    is_spoilt = not all(bool(torch.isfinite(p).all()) for p in trained)
    shown = [step for step in (2, 3) if losses.get(step) is not None]
    wrong = len(shown) + (2 not in losses) + (losses.get(1) is None) + is_spoilt
    return Measured(wrong, f"The losses shown are {list(losses.values())}")
