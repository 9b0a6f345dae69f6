"""Steps drawn at random over every variant and everything that a step's memory depends on."""

from random import Random
from typing import Any

from engine.budget.step_shape import StepShape
from engine.gemma import catalog
from engine.gemma.lora_targets import ATTENTION, MLP

_MOST_TOKENS = 16_384
"""Of a micro-batch."""


def random_step(random: Random) -> StepShape:
    """One step; seldom choices are drawn seldom, but all are drawn."""
    model = random.choice(catalog.names())
    has_experts, has_tables = "26B" in model, "E2B" in model or "E4B" in model
    batch, length = _shape(random)
    is_4bit = random.random() < 0.6
    method = _seldom(random, 0.1, ["dora"], "lora")
    expert_block_size = random.choice([0, 64, 128]) if has_experts else 0
    # PEFT adapts experts in 16 bits only, and without dropout.
    can_adapt_experts = has_experts and method == "lora" and not expert_block_size
    adapts_experts = can_adapt_experts and random.random() < 0.5
    supervised = random.randrange(16, batch * (length - 1))
    return StepShape(
        model=model,
        dtype=_seldom(random, 0.15, ["float16", "float32"], "bfloat16"),
        quantization="nf4" if is_4bit else "none",
        double_quantization=random.random() < 0.7,
        expert_block_size=expert_block_size,
        method=method,
        r=random.choice([4, 8, 16, 32, 64, 128]),
        lora_dropout=0.0 if adapts_experts else random.choice([0.0, 0.0, 0.05]),
        target_modules=random.choice([ATTENTION, ATTENTION + MLP, ATTENTION + MLP]),
        adapts_experts=adapts_experts,
        batch=batch,
        length=length,
        supervised_tokens=supervised if random.random() < 0.5 else None,
        restarts=batch > 1 or random.random() < 0.4,
        accumulates=random.random() < 0.6,
        optim=random.choice(
            ["adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "sgd"]
        ),
        gradient_checkpointing=random.random() < 0.85,
        tables_on_host=has_tables and random.random() < 0.5,
        has_flash=random.random() < 0.85,
        has_grouped_mm=random.random() < 0.5,
    )


def _shape(random: Random) -> tuple[int, int]:
    length = random.choice([200, 512, 777, 1024, 2048, 4096, 8192])
    batch = random.choice([n for n in (1, 1, 2, 4, 8) if n * length <= _MOST_TOKENS])
    return batch, length


def _seldom(random: Random, chance: float, others: list[Any], usual: Any) -> Any:
    return random.choice(others) if random.random() < chance else usual
