"""Checks against what is known to be right: tokens and figures that are shipped."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit

from engine.doctor.check import Measurement, check
from engine.doctor.golden import causes, rows, truth
from engine.doctor.golden.figures import measured
from engine.doctor.golden.seeded_weights import uniform
from engine.doctor.golden.truth import Move
from engine.doctor.specimens import KINDS, Specimens
from engine.model import nf4
from engine.model.experts import QuantisedExperts

AFTERWARDS = "What other checks find may follow from it"


@check("golden tokens", limit=0, advice=AFTERWARDS, is_fast=True, is_golden=True)
def golden_tokens(specimens: Specimens) -> Measurement:
    """Count talks that become other tokens, or carry loss elsewhere, over all dialects."""
    own = rows.encoded(specimens)
    wrong = [
        rows.difference(str(dialect), golden, talk, specimens.tokenizer(dialect))
        for dialect, talks in truth.document()["rows"].items()
        for golden, talk in zip(talks, own[dialect], strict=True)
        if golden != talk
    ]
    remedy = "Do not train here; install the tested versions"
    return Measurement(len(wrong), f"{wrong[0]}. {remedy}" if wrong else "")


@check("golden figures in float32", limit=8e-5, advice=AFTERWARDS, is_fast=True, is_golden=True)
def golden_float32(specimens: Specimens) -> Measurement:
    """Losses, gradients and each module's output, where every weight is known.

    The limit is a tenth of the smallest effect of a planted bug, 9e-4 where GELU is computed
    exactly instead of by its approximation (the others come to 0.1 and more). With and without
    AVX2 and AVX-512, processors differ by 5e-6.
    """
    return _measurement(specimens, "float32")


@check("golden figures in bfloat16", limit=0.03, advice=AFTERWARDS, is_golden=True)
def golden_bfloat16(specimens: Specimens) -> Measurement:
    """The same in bfloat16, whose roundings differ between processors.

    Losses differ by up to 0.009 nats between AVX-512, AVX2 and neither, and all else by up to 0.065
    of its size, hence a limit five times as wide. Processors with bfloat16 units were not at hand:
    they round products alike and add them up in another order, as these three do.
    """
    return _measurement(specimens, "bfloat16")


@check("golden figures in NF4", limit=8e-5, advice=AFTERWARDS, is_golden=True)
def golden_nf4(specimens: Specimens) -> Measurement:
    """The same over weights in 4 bits, multiplied in float32."""
    return _measurement(specimens, "nf4")


def _measurement(specimens: Specimens, name: str) -> Measurement:
    allowed, document = truth.FORMATS[name], truth.document()
    suspects, error, likely = [], 0.0, ""
    for kind in KINDS:
        golden = document["figures"][kind][name]
        gemma = specimens.gemma(kind, **allowed.choices)
        figures = measured(gemma, truth.rows(kind, document["rows"]))
        differences = truth.differences(golden, figures, allowed)
        error = max([error, *map(allowed.error, differences)])
        moves = [each for each in differences if not allowed.error(each) <= allowed.limit]
        suspects += causes.suspects(name, kind, moves, document["shapes"][kind])
        likely = likely or _likely(golden, moves, figures.scored, figures.adapted)
    return Measurement(error, causes.advice(suspects, likely))


def _likely(golden: Mapping[str, Any], moves: list[Move], scored: float, adapted: float) -> str:
    """The known bug whose figure a loss has, where a loss is what moved first."""
    first = moves[0].name if moves else ""
    loss = {"scored": scored, "adapted": adapted}.get(first, math.nan)
    loss_of_bug: Mapping[str, float] = golden.get("alternatives", {}).get(first, {})
    return next((text for text, figure in loss_of_bug.items() if abs(figure - loss) < 1e-3), "")


@check(
    "NF4 products against their weights",
    limit=0.2,
    advice='Set model.quantization = "none" and install the tested versions: 4-bit weights are '
    "read as other numbers than were stored",
    is_golden=True,
)
def nf4_products(specimens: Specimens) -> Measurement:
    """Each layer's product against that of the weights it was made from, relative to its size.

    NF4 rounds weights that are spread evenly by a tenth of their size; numbers that are read
    wrongly, such as with the halves of each byte swapped, give an error above one.
    """
    errors = {}
    for kind in KINDS:
        packed, whole = (specimens.gemma(kind, quantization=q).model for q in ("nf4", "none"))
        weights = dict(whole.named_parameters())
        for name, module in packed.named_modules():
            for own, stored in _products(name, module, weights):
                errors[f"{name} of {kind}"] = _relative(own, stored)
    worst = max(errors, key=lambda name: errors[name], default="")
    return Measurement(errors.get(worst, math.inf), f"Most in {worst}" if worst else "")


@torch.no_grad()
def _relative(own: torch.Tensor, stored: torch.Tensor) -> float:
    return float((own - stored).norm() / stored.norm())


def _products(
    name: str, module: torch.nn.Module, weights: Mapping[str, torch.Tensor]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What a 4-bit module makes of seeded inputs, and what its weights in the files do."""
    if isinstance(module, Linear4bit):
        inputs = uniform(name, (8, module.in_features))
        with torch.no_grad():
            return [(module(inputs), inputs @ weights[f"{name}.weight"].T)]
    if isinstance(module, QuantisedExperts):
        stacks = [(module.gate_up_proj, "gate_up_proj"), (module.down_proj, "down_proj")]
        return [
            (nf4.matrices(packed, 0, module.num_experts), weights[f"{name}.{stack}"])
            for packed, stack in stacks
        ]
    return []
