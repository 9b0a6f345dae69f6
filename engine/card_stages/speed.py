"""Tokens a second beside TRL's own trainer, and what each choice of the engine's is worth."""

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.card_stages import random_checkpoint, timed_rows
from engine.card_stages.card_trial import CardTrial, Case, Part
from engine.card_stages.timed_rows import RANK, SEED, Timing
from engine.doctor.trial import Trial
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.gemma.shapes import EMBEDDED
from engine.hardware import probe_process
from engine.model.load import Loaded, load
from engine.model.patches.fused_lora import use_fused_lora
from engine.model.protocols import AdaptedModel
from engine.objectives.heads import Batch, Scores, by_own_head
from engine.paths import EMBEDDED_WEIGHTS
from engine.recipe.schema import Adapter, Model
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState
from engine.units import GIB

_VARIANT = "gemma-3-1b"
_LEAST_S = 10.0
"""Below it no further way would be measured in time."""


class _Clock(Hook):
    """Seconds and tokens of each step, until the card has ended it."""

    def __init__(self) -> None:
        self.timing = Timing()
        self._began = 0.0

    def on_step_begin(self, state: TrainingState) -> None:
        """Begin, with nothing left to be done on the card."""
        torch.cuda.synchronize()
        self._began = time.perf_counter()

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Keep what the step took."""
        torch.cuda.synchronize()
        self.timing.add(time.perf_counter() - self._began, result.tokens, result.metrics["loss"])


def _as_it_is(gemma: Loaded) -> Loaded:
    return gemma


def _without_flash(gemma: Loaded) -> Loaded:
    torch.backends.cuda.enable_flash_sdp(False)
    return gemma


def _with_cudnn(gemma: Loaded) -> Loaded:
    torch.backends.cuda.enable_cudnn_sdp(True)
    return gemma


def _masked(gemma: Loaded) -> Loaded:
    return replace(gemma, counts_on=False)


def _own_head(gemma: Loaded) -> Loaded:
    return replace(gemma, has_own_head=True)


_OWN_LAYERS = "engine with its own head and LoRA layers"
_WAYS: dict[str, Callable[[Loaded], Loaded]] = {
    "engine": _as_it_is,
    "engine without flash attention": _without_flash,
    "engine with cuDNN's attention": _with_cudnn,
    "engine with a mask of padding": _masked,
    "engine with its own head": _own_head,
    _OWN_LAYERS: _own_head,
}


def parts(trial: CardTrial) -> Iterator[Part]:
    """The same rows through TRL's trainer and through the engine, in each of its ways."""
    if trial.is_tiny:
        model, rows = EMBEDDED_WEIGHTS, timed_rows.drawn(steps=2, batch=4, longest=48)
    else:
        model = random_checkpoint.write(_VARIANT, trial.folder / "speed-model")
        rows = timed_rows.drawn(steps=12, batch=8, longest=1024)
    ways = list(_WAYS)[:1] if trial.is_tiny else list(_WAYS)
    cases: list[Case] = [("TRL's SFTTrainer", partial(_stock, trial, model, rows))]
    cases += [(way, partial(_timed, trial, model, rows, way)) for way in ways]
    yield from trial.each(cases, _LEAST_S)


def _timed(trial: CardTrial, model: Path, rows: timed_rows.Rows, way: str) -> Part:
    path = EMBEDDED if model == EMBEDDED_WEIGHTS else str(model)
    gemma = _WAYS[way](load(Model(path=path, dtype="bfloat16"), trial.profile))
    clock = _Clock()
    adapter = Adapter(r=RANK, lora_alpha=2 * RANK, target_modules=(*ATTENTION, *MLP))
    settings: dict[str, Any] = {
        "per_device_train_batch_size": rows.batch, "max_steps": rows.steps,
        "optim": "adamw_torch", "gradient_checkpointing": True, "max_grad_norm": 1.0,
    }  # fmt: skip
    steps = Trial(gemma, rows.sequences(), clock, adapter=adapter, is_fresh=True, **settings)
    if way == _OWN_LAYERS:
        use_fused_lora(steps.model)
        steps.state.score = partial(_scored_without_autocast, steps.model)
    torch.cuda.reset_peak_memory_stats()
    try:
        steps.train()
    finally:
        torch.backends.cuda.enable_flash_sdp(True)
        torch.backends.cuda.enable_cudnn_sdp(False)
    peak_gib = torch.cuda.max_memory_allocated() / GIB
    del steps, gemma
    gc.collect()
    torch.cuda.empty_cache()
    return {**clock.timing.as_dict(), "allocated_gib": round(peak_gib, 3)}


def _scored_without_autocast(model: AdaptedModel, batch: Batch) -> Scores:
    return by_own_head(model, batch, nullcontext())


def _stock(trial: CardTrial, model: Path, rows: timed_rows.Rows) -> Part:
    """In a process of its own, since the engine changes parts of the packages."""
    request = json.dumps({"model": str(model), "rows": rows.as_dict(), "seed": SEED})
    return probe_process.answer(
        "-m", "engine.card_stages.stock_trainer", request, deadline_s=max(1.0, trial.left_s)
    )
