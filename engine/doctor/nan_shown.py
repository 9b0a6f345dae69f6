"""Whether a loss that is no number is told as such, and kept from the weights."""

import math
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from engine import events
from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import trainer
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from engine.train.loss_guards import NotFinite
from engine.train.memory_check import MemoryCheck
from engine.train.report import Report
from engine.train.token_counts import Tally


class Poisoned(Report):
    """A run's callback that spoils a frozen weight before the second step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Spoil the weight."""
        super().on_step_begin(args, state, control, **named)
        if state.global_step == 1:
            weight = next(p for p in named["model"].parameters() if not p.requires_grad)
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
    tally = Tally()
    report = _report(run, tally, gemma.vocab_size)
    sequences = [alone(row) for row in rows(gemma)]
    built = trainer(gemma, sequences, report, tally, max_steps=3)
    try:
        built.train()
    except NotFinite as failed:
        report.show(failed, built.state)
    lines = Tail(run.events).read_new()
    losses = {e.step: e.loss for e in map(events.decode, lines) if isinstance(e, events.Step)}
    trained = [p for p in built.model.parameters() if p.requires_grad]
    is_spoilt = not all(bool(torch.isfinite(p).all()) for p in trained)
    shown = [step for step in (2, 3) if losses.get(step) is not None]
    wrong = len(shown) + (2 not in losses) + (losses.get(1) is None) + is_spoilt
    return Measured(wrong, f"The losses shown are {list(losses.values())}")


def _report(run: RunDir, tally: Tally, vocab_size: int) -> Report:
    """A run's own callback."""
    log = EventLog(run)
    return Poisoned(
        log=log,
        wishes=RunControl(run),
        tally=tally,
        vocab_size=vocab_size,
        save_steps=0,
        sample_every=0,
        sample=lambda step: None,
        truth=MemoryCheck(log, None),
    )
