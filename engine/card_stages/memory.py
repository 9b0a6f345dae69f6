"""Forecasts against measured memory: runs of the engine on models of real shapes."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from engine.card_stages import engine_run
from engine.card_stages.card_trial import CardTrial, Part
from engine.card_stages.engine_run import Settings
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.gemma.shapes import EMBEDDED
from engine.units import GIB

_ALLOCATED_LIMIT = 0.04
"""Of what a forecast may be off by, as the ledger is held to against simulated steps."""
_LEAST_S = 12.0
"""Below it no further run would end in time."""
_STEPS = 3


@dataclass(frozen=True, slots=True)
class _Case:
    """A model, and how it is trained."""

    variant: str
    length: int
    batch: int = 1
    quantization: str = "none"
    layers: int | None = None
    """Only the first so many, the last with full attention; the ledger is linear in them."""
    has_host_tables: bool = False
    targets: tuple[str, ...] = (*ATTENTION, *MLP)
    optim: str = "adamw_8bit"


_CASES = {
    "270m": _Case("gemma-3-270m", 1024, 4),
    "1b": _Case("gemma-3-1b", 2048, optim="adamw_torch"),
    "1b NF4": _Case("gemma-3-1b", 1024, 2, "nf4"),
    "4b NF4, 12 layers": _Case("gemma-3-4b", 1024, 2, "nf4", layers=12),
    "e2b NF4, host tables": _Case("gemma-4-E2B", 1024, 1, "nf4", has_host_tables=True),
    "12b NF4, 6 layers": _Case("gemma-4-12B", 1024, 1, "nf4", layers=6),
    "26b-a4b NF4, 6 layers": _Case(
        "gemma-4-26B-A4B", 512, 1, "nf4", layers=6, targets=tuple(ATTENTION)
    ),
}
_TINY = {"embedded": _Case(EMBEDDED, 64, 4, optim="adamw_torch")}


def parts(trial: CardTrial) -> Iterator[Part]:
    """For each case what was forecast and what PyTorch and the driver say after the second step."""
    cases = _TINY if trial.is_tiny else _CASES
    yield from trial.each(
        [(name, partial(_measured, trial, name, case)) for name, case in cases.items()], _LEAST_S
    )


def _measured(trial: CardTrial, name: str, case: _Case) -> Part:
    folder = trial.folder / name.replace(" ", "-").replace(",", "")
    weights, model = trial.folder / f"{folder.name}-model", case.variant
    if model != EMBEDDED:
        # A tiny Gemma is there already, and its run imports what it needs in its own process.
        from engine.card_stages import random_checkpoint

        needed = random_checkpoint.size_bytes(case.variant, case.layers)
        free = shutil.disk_usage(trial.folder).free
        if needed > 0.9 * free:
            room = f"{needed / GIB:.1f} GiB, and {free / GIB:.1f} are free in {trial.folder}"
            return {"skipped": f"its checkpoint needs {room}"}
        model = str(random_checkpoint.write(case.variant, weights, case.layers))
    words = " ".join(str(number) for number in range(2 * case.length))
    run = engine_run.prepared(
        folder, trial.profile, _settings(case, model), [words] * (_STEPS * case.batch)
    )
    try:
        ended = engine_run.ended(trial, run)
    finally:
        shutil.rmtree(weights, ignore_errors=True)
    ended.require_done()
    compared = _compared(ended.of_kind("memory")[0])
    # Of a tiny model's step the larger part is what cuBLAS may take.
    return compared if trial.is_tiny else {"passed": _is_near(compared), **compared}


def _settings(case: _Case, model: str) -> Settings:
    return {
        "model": {
            "path": model,
            "quantization": case.quantization,
            "host_tables": case.has_host_tables,
        },
        "adapter": {"target_modules": list(case.targets)},
        "data": {"max_length": case.length},
        "training": {
            "per_device_train_batch_size": case.batch,
            "max_steps": _STEPS,
            "optim": case.optim,
            "save_steps": 0,
        },
    }


def _compared(memory: dict[str, Any]) -> Part:
    gib = {key: value for key, value in memory.items() if key.endswith("_gib")}
    forecast, measured = memory["forecast_allocated_gib"], memory["allocated_gib"]
    off_by = forecast / measured - 1 if forecast and measured else None
    return {
        "allocated_off_by": None if off_by is None else round(off_by, 4),
        "limit": _ALLOCATED_LIMIT,
        **gib,
    }


def _is_near(compared: Part) -> bool:
    off_by = compared["allocated_off_by"]
    return off_by is not None and abs(off_by) <= _ALLOCATED_LIMIT
