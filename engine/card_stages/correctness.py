"""Whether the card computes what is known to be right, and what a CPU computes."""

from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from engine.card_stages.card_trial import CardTrial, Case, Part
from engine.data.batches import TokenSequence, alone, pack
from engine.doctor import specimens
from engine.doctor.check import Check
from engine.doctor.checks import CHECKS
from engine.doctor.specimens import KINDS, TABLES, Specimens
from engine.doctor.trial import RecordedStep, difference, step

_LIMIT = 1e-3
"""Of losses and gradients in float32, as the doctor's checks have it."""
_ROUNDING_LIMIT = 0.02
"""Of the loss in bfloat16."""
_PACKED_LENGTH = 64
_SETTINGS: dict[str, dict[str, Any]] = {
    "padded": {},
    "checkpointed": {"gradient_checkpointing": True},
    "accumulated": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
    "packed": {},
    "8-bit AdamW": {"optim": "adamw_8bit"},
}
_CHOICES: dict[str, dict[str, Any]] = {
    "NF4": {"quantization": "nf4"},
    "bfloat16": {"dtype": "bfloat16"},
    "host tables": {"host_tables": True},
}


def parts(trial: CardTrial) -> Iterator[Part]:
    """Each of the doctor's checks with its models on the card, and steps beside a CPU's."""
    own_head = bool(trial.profile.why_no_triton)
    on_card = Specimens(trial.folder, has_own_head=own_head, profile=trial.profile)
    on_cpu = Specimens(trial.folder, has_own_head=True)
    kinds = KINDS[:1] if trial.is_tiny else KINDS
    checks = [check for check in CHECKS if (check.is_golden and check.is_fast) or not trial.is_tiny]
    # The CPU's first: it mends how bitsandbytes reads 4 bits there.
    steps = [case for kind in kinds for case in _steps(kind, on_card, on_cpu)]
    if not own_head:
        steps += [(f"{kind}, engine's head", partial(_heads, kind, trial)) for kind in kinds]
    yield from trial.each(steps)
    yield from trial.each([(check.name, partial(_checked, check, on_card)) for check in checks])


def _checked(check: Check, on_card: Specimens) -> Part:
    finding = check(on_card)
    return {
        "passed": finding.passed, "figure": finding.figure, "limit": finding.limit,
        "advice": finding.advice,
    }  # fmt: skip


def _steps(kind: str, on_card: Specimens, on_cpu: Specimens) -> Iterator[Case]:
    for name, settings in _SETTINGS.items():
        yield f"{kind}, {name}", partial(_compared, kind, name, settings, {}, on_card, on_cpu)
    for name, choices in _CHOICES.items():
        if name != "host tables" or kind in TABLES:
            yield f"{kind}, {name}", partial(_compared, kind, name, {}, choices, on_card, on_cpu)


def _compared(
    kind: str,
    name: str,
    settings: dict[str, Any],
    choices: dict[str, Any],
    on_card: Specimens,
    on_cpu: Specimens,
) -> Part:
    """One step of the same rows on both; on the CPU all at once, with its tables in the model."""
    like = {key: choice for key, choice in choices.items() if key != "host_tables"}
    cpu = _step_of_cpu(on_cpu, kind, tuple(like.items()))
    card = _step(on_card, kind, name, settings, choices)
    if "dtype" in choices:
        figure, limit = abs(card.losses[0] / cpu.losses[0] - 1), _ROUNDING_LIMIT
    else:
        figure, limit = difference(cpu, card), _LIMIT
    return {"passed": figure <= limit, "figure": figure, "limit": limit}


@cache
def _step_of_cpu(
    on_cpu: Specimens, kind: str, choices: tuple[tuple[str, Any], ...]
) -> RecordedStep:
    return _step(on_cpu, kind, "padded", {}, dict(choices))


def _step(
    own: Specimens, kind: str, name: str, settings: dict[str, Any], choices: dict[str, Any]
) -> RecordedStep:
    gemma = own.gemma(kind, **choices)
    rows = specimens.rows(gemma)
    sequences: list[TokenSequence] = (
        list(pack(rows, _PACKED_LENGTH)) if name == "packed" else [alone(row) for row in rows]
    )
    batch = {"per_device_train_batch_size": len(sequences), **settings}
    recorded = step(gemma, sequences, **batch)
    recorded.gradients = {name: each.cpu() for name, each in recorded.gradients.items()}
    return recorded


def _heads(kind: str, trial: CardTrial) -> Part:
    """A step through TRL's head, which Triton computes, and through the engine's, on the card."""
    heads = (
        Specimens(trial.folder, has_own_head=is_own, profile=trial.profile)
        for is_own in (False, True)
    )
    figure = difference(*(_step(own, kind, "padded", {}, {}) for own in heads))
    return {"passed": figure <= _LIMIT, "figure": figure, "limit": _LIMIT}
