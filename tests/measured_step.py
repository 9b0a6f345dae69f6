"""What PyTorch's own CPU allocator holds during a real optimizer step of the engine."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from engine.doctor.trial import Trial
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState

MEASURED_STEP = 2
"""Counted from 0: optimizer state is there, and nothing is done for the first time."""


class Allocations(Hook):
    """Profiles one step; `peak_bytes` is what was held before it and the most on top."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.trial: Trial | None = None
        self._held_bytes = 0
        self._profile: Any = None

    def on_step_begin(self, state: TrainingState) -> None:
        """Start where the step starts."""
        if state.progress.step == MEASURED_STEP:
            assert self.trial is not None
            self._held_bytes = held_bytes(self.trial)
            self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self._profile.__enter__()

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Add up the allocator's own events."""
        if self._profile is None:
            return
        self._profile.__exit__(None, None, None)
        events = self._profile.profiler.kineto_results.events()
        found = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        most = max(itertools.accumulate(size for _, size in found))
        self.peak_bytes = self._held_bytes + most
        self._profile = None


def held_bytes(trial: Trial) -> int:
    """Bytes of every storage that is kept from step to step, a batch among them.

    Checkpointing also keeps the CPU's random state for every layer; with a card that is in host
    memory, so it is taken off here.
    """
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in _kept(trial)}
    batch = next(iter(trial.state.loader))
    used = ("input_ids", "labels", "position_ids", "attention_mask", "completion_mask")
    total = sum(storages.values()) + sum(batch[name].nbytes for name in used if name in batch)
    layers = trial.model.config.get_text_config().num_hidden_layers
    random_state = (
        torch.get_rng_state().nbytes if trial.state.training.gradient_checkpointing else 0
    )
    return total - layers * random_state


def _kept(trial: Trial) -> Iterator[torch.Tensor]:
    for module in trial.model.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        for parameter in module.parameters(recurse=False):
            yield from _of_state(getattr(parameter, "quant_state", None))
    for state in trial.state.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))


def _of_state(state: Any) -> Iterator[torch.Tensor]:
    for given in (state, getattr(state, "state2", None)):
        for name in ("absmax", "code", "offset"):
            value = getattr(given, name, None)
            if isinstance(value, torch.Tensor):
                yield value
