"""Bytes of what is done beside the decoder's step: looking at images, answering prompts.

Neither is part of the simulated step, so these are estimates from shapes.
"""

from engine.budget.step_shape import StepShape
from engine.gemma.shapes import Gemma

_PROMPT_TOKENS = 256
"""Of a prompt that is answered while the run goes on."""


def images(gemma: Gemma, step: StepShape) -> int:
    """Pixels in float32, and one layer of the vision tower: its inputs and its wider middle."""
    tower, count = gemma.vision, step.images * step.batch
    if tower is None or not count or not tower.layers:
        return 0
    pixels = tower.positions * 3 * 16 * 16 * 4
    middle = tower.positions * (4 * tower.hidden_size + 2 * tower.intermediate_size) * step.width
    return count * (pixels + middle)


def sampling(gemma: Gemma, step: StepShape) -> int:
    """Keys and values of one answer, its logits in two types, and a layer over its prompt."""
    if not step.generates_tokens:
        return 0
    tokens = _PROMPT_TOKENS + step.generates_tokens
    cached = sum(
        2 * layer.kv_heads * layer.head_width for layer in gemma.layers if layer.sharing != "reuse"
    )
    widest = max(layer.intermediate_size for layer in gemma.layers)
    prompt = _PROMPT_TOKENS * (3 * widest + 4 * gemma.hidden_size) * step.width
    logits = gemma.vocab_size * (4 + step.width)
    return tokens * cached * step.width + prompt + logits
