"""Which token comes next: the likeliest, or one drawn by temperature, top_k and top_p."""

from collections.abc import Callable

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from engine.sessions.playground import Settings

Sampler = Callable[[torch.Tensor], int]
"""From the logits of the next token, (vocabulary,), to its id."""


def token_sampler(settings: Settings, device: torch.device) -> Sampler:
    """Draw as transformers' `generate` does, by a seed of its own."""
    if settings.temperature == 0:
        return lambda logits: int(logits.argmax())
    warpers = [TemperatureLogitsWarper(settings.temperature)]
    if settings.top_k:
        warpers.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    generator = torch.Generator(device).manual_seed(settings.seed)

    def draw(logits: torch.Tensor) -> int:
        row = logits.float()[None]
        for warper in warpers:
            row = warper(None, row)
        return int(torch.multinomial(row.softmax(-1), 1, generator=generator))

    return draw
