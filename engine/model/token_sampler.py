"""Which token comes next: the likeliest, or one drawn by temperature, top_k and top_p."""

from collections.abc import Callable

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from engine.sessions.playground import Settings

Choose = Callable[[torch.Tensor], int]
"""From the scores of all tokens, one row of them, to the chosen one."""


def chooser(settings: Settings, device: torch.device) -> Choose:
    """Drawn as transformers' `generate` draws, by a seed of its own."""
    if settings.temperature == 0:
        return lambda scores: int(scores.argmax())
    warpers = [TemperatureLogitsWarper(settings.temperature)]
    if settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    generator = torch.Generator(device).manual_seed(settings.seed)

    def drawn(scores: torch.Tensor) -> int:
        row = scores.float()[None]
        for warper in warpers:
            row = warper(None, row)
        return int(torch.multinomial(row.softmax(-1), 1, generator=generator))

    return drawn
