"""Checks of loss and gradients: accumulation, checkpointing, packing, rows without loss, NaN."""

import json
import math
from pathlib import Path
from tempfile import mkdtemp

import torch

from engine import events
from engine.data.batches import TokenSequence, alone, pack
from engine.data.encoding.template import template
from engine.data.encoding.tokens import IGNORED
from engine.data.prepare import prepare
from engine.data.row_pipeline import NO_LOSS
from engine.doctor.check import Measurement, check
from engine.doctor.specimens import KINDS, QUESTIONS, SHARING, Specimens, rows, sequences
from engine.doctor.trial import RecordedStep, Trial, difference, step
from engine.recipe.schema import Data, Source
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from engine.train.hooks.step_events import StepEvents, step_event
from engine.train.loop import Hook
from engine.train.progress import NotFinite
from engine.train.state import TrainingState

_EMPTY_MASK_LENGTH = 48


@check(
    "accumulation scaling",
    limit=1e-3,
    advice="Set gradient_accumulation_steps = 1, and install the tested versions: loss and "
    "gradient are multiplied by the accumulation steps",
)
def accumulation_scaling(specimens: Specimens) -> Measurement:
    """Two equal rows at once against one after the other, where the class refuses a token count.

    As the rows are equal, a mean of means is right too.
    """
    once, split = (
        step(gemma, sequences(gemma)[:1] * 2, **settings)
        for settings in (
            {"per_device_train_batch_size": 2},
            {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},
        )
        for gemma in (specimens.gemma("gemma4_multimodal"),)
    )
    ratio = split.losses[0] / once.losses[0]
    return Measurement(difference(once, split), f"The loss of two steps is {ratio:.3f} times one's")


@check(
    "accumulation weighting",
    limit=1e-3,
    advice="Set gradient_accumulation_steps = 1, and install the tested versions: short rows "
    "weigh more than long ones",
)
def accumulation_weighting(specimens: Specimens) -> Measurement:
    """Rows of different lengths at once against one after the other, both kinds of classes."""
    count = len(QUESTIONS)
    differences = []
    for kind in ("gemma3", "gemma4_multimodal"):
        at_once = _step(specimens, kind, per_device_train_batch_size=count)
        apart = _step(
            specimens, kind, per_device_train_batch_size=1, gradient_accumulation_steps=count
        )
        differences.append(difference(at_once, apart))
    return Measurement(max(differences))


def _step(specimens: Specimens, kind: str, **settings: int) -> RecordedStep:
    gemma = specimens.gemma(kind)
    return step(gemma, sequences(gemma), **settings)


@check(
    "checkpointing gradients",
    limit=1e-3,
    advice="Set training.gradient_checkpointing = false, and install the tested versions",
)
def checkpointing_gradients(specimens: Specimens) -> Measurement:
    """The engine's checkpointing against none; the reentrant kind is measured beside it."""
    plain = {kind: _checkpointed(specimens, kind) for kind in SHARING}
    figure = max(
        difference(plain[kind], _checkpointed(specimens, kind, gradient_checkpointing=True))
        for kind in SHARING
    )
    remark = _reentrant(specimens, plain)
    return Measurement(figure, remark, remark)


def _reentrant(specimens: Specimens, plain: dict[str, RecordedStep]) -> str:
    """What the other kind does; packages may drop it without harm to the engine."""
    kind = SHARING[0]
    subject = "Reentrant checkpointing, which the engine never uses,"
    try:
        wrong = _checkpointed(specimens, kind, gradient_checkpointing=True, is_reentrant=True)
    except Exception as error:
        return f"{subject} could not be tried: {type(error).__name__}: {error}"
    return f"{subject} is off by {difference(plain[kind], wrong):.0%}"


def _checkpointed(specimens: Specimens, kind: str, **settings: bool) -> RecordedStep:
    gemma = specimens.gemma(kind)
    return step(gemma, sequences(gemma)[:2], **settings)


@check(
    "packing leak",
    limit=1e-3,
    advice="Set data.packing = false and training.per_device_train_batch_size = 1, and install "
    "the tested versions: rows of a batch attend to each other or to padding",
)
def packing_leak(specimens: Specimens) -> Measurement:
    """Loss and gradients of packed rows against the same rows one by one, on every architecture."""
    differences = {kind: _packing_difference(specimens, kind) for kind in KINDS}
    worst = max(differences, key=lambda kind: differences[kind])
    return Measurement(differences[worst], f"Most in {worst}")


def _packing_difference(specimens: Specimens, kind: str) -> float:
    gemma = specimens.gemma(kind)
    tokens = rows(gemma)
    length = max(len(row.ids) for row in tokens) + min(len(row.ids) for row in tokens)
    packed: list[TokenSequence] = list(pack(tokens, length))
    together = step(gemma, packed, per_device_train_batch_size=len(packed))
    apart = step(
        specimens.gemma(kind),
        [alone(row) for row in tokens],
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(tokens),
    )
    return difference(apart, together)


@check(
    "empty mask",
    limit=1e-3,
    advice="Raise data.max_length above your longest row, and install the tested versions: a "
    "batch without a supervised token spoils the gradient of others",
)
def empty_mask(specimens: Specimens) -> Measurement:
    """A step with an empty micro-batch against one without, and rows that should be left out."""
    gemma, same = (specimens.gemma("gemma4_multimodal") for _ in range(2))
    row = sequences(gemma)[0]
    empty = TokenSequence(row.input_ids, [IGNORED] * len(row.labels), row.position_ids)
    without = step(gemma, [row], per_device_train_batch_size=1)
    beside = step(same, [row, empty], per_device_train_batch_size=1, gradient_accumulation_steps=2)
    count = _unsupervised_rows(specimens)
    text = f"{count} rows without a supervised token are trained on" if count else ""
    return Measurement(difference(without, beside) + count, text)


def _unsupervised_rows(specimens: Specimens) -> int:
    """Count rows of a file that stay though their answer lies beyond the recipe's max_length."""
    file = specimens.folder / "empty.jsonl"
    pairs = [("Name a fruit.", "A pear."), ("Name a fruit. " * _EMPTY_MASK_LENGTH, "A pear.")]
    lines = (json.dumps({"question": question, "response": text}) for question, text in pairs)
    file.write_text("".join(f"{line}\n" for line in lines))
    source = Source(path=str(file), format="question_response")
    data = Data(sources=(source,), max_length=_EMPTY_MASK_LENGTH)
    prepared = prepare(data, specimens.tokenizer("gemma4"), template("gemma4"))
    return len(prepared.rows) - 1 + (1 - prepared.dropped[NO_LOSS])


@check(
    "NaN shown as NaN",
    limit=0,
    advice="Watch the loss for zeros, and install the tested versions: a loss that is no number "
    "would be shown as one",
)
def nan_shown(specimens: Specimens) -> Measurement:
    """Steps without a number that were shown with one or not at all, or that changed weights."""
    gemma = specimens.gemma("embedded")
    run = RunDir(Path(mkdtemp(dir=specimens.folder)))
    log = EventLog(run)
    trial = Trial(gemma, sequences(gemma), _Poison(), StepEvents(log), max_steps=3)
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
    return Measurement(wrong, f"The losses shown are {list(losses.values())}")


class _Poison(Hook):
    """Spoils a frozen weight before the second step."""

    def on_step_begin(self, state: TrainingState) -> None:
        """Spoil the weight."""
        if state.progress.step == 1:
            weight = next(p for p in state.model.parameters() if not p.requires_grad)
            weight.data.fill_(math.nan)
