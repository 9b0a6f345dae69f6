"""What PyTorch's own CPU allocator holds during a real optimizer step of a trainer."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

MEASURED_STEP = 2
"""Counted from 0: optimizer state is there, and nothing is done for the first time."""


class Allocations(TrainerCallback):
    """Profiles one step; `peak_bytes` is what was held before it and the most on top."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.trainer: Any = None
        self._held_bytes = 0
        self._profile: Any = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start where the step starts."""
        if state.global_step == MEASURED_STEP:
            self._held_bytes = held_bytes(self.trainer)
            self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self._profile.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add up the allocator's own events."""
        if self._profile is None:
            return
        self._profile.__exit__(None, None, None)
        events = self._profile.profiler.kineto_results.events()
        found = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
        most = max(itertools.accumulate(size for _, size in found))
        self.peak_bytes = self._held_bytes + most
        self._profile = None


def held_bytes(trainer: Any) -> int:
    """Bytes of every storage that is kept from step to step, a batch among them.

    Checkpointing also keeps the CPU's random state for every layer; with a card that is in host
    memory, so it is taken off here.
    """
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in _kept(trainer)}
    batch = next(iter(trainer.get_train_dataloader()))
    used = ("input_ids", "labels", "position_ids", "attention_mask", "completion_mask")
    total = sum(storages.values()) + sum(batch[name].nbytes for name in used if name in batch)
    layers = trainer.model.config.get_text_config().num_hidden_layers
    random_state = torch.get_rng_state().nbytes if trainer.args.gradient_checkpointing else 0
    return total - layers * random_state


def _kept(trainer: Any) -> Iterator[torch.Tensor]:
    for module in trainer.model.modules():
        yield from module.parameters(recurse=False)
        yield from module.buffers(recurse=False)
        for parameter in module.parameters(recurse=False):
            yield from _of_state(getattr(parameter, "quant_state", None))
    for state in trainer.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))


def _of_state(state: Any) -> Iterator[torch.Tensor]:
    for given in (state, getattr(state, "state2", None)):
        for name in ("absmax", "code", "offset"):
            value = getattr(given, name, None)
            if isinstance(value, torch.Tensor):
                yield value
