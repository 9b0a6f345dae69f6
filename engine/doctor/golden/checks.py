"""Checks against what is known to be right: tokens and figures that are shipped."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit

from engine.doctor.check import AFTERWARDS, Measurement, check
from engine.doctor.golden import causes, rounding, rows, truth
from engine.doctor.golden.figures import measured
from engine.doctor.golden.seeded_weights import uniform
from engine.doctor.golden.truth import Move
from engine.doctor.specimens import KINDS, Specimens
from engine.model import nf4
from engine.model.experts import QuantisedExperts
from engine.model.protocols import LanguageModel

_ROUNDING = 0.035


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


@check(
    "golden figures in float32", limit=truth.LIMIT, advice=AFTERWARDS, is_fast=True, is_golden=True
)
def golden_float32(specimens: Specimens) -> Measurement:
    """Losses, gradients and each module's output, where every weight is known.

    The limit is a tenth of the smallest effect of a planted bug, 9e-4 where GELU is computed
    exactly instead of by its approximation (the others come to 0.1 and more). With and without
    AVX2 and AVX-512, processors differ by 5e-6.
    """
    return _measurement(specimens, "float32")


@check(
    "golden figures in bfloat16",
    limit=_ROUNDING,
    advice='Set model.dtype = "float32" and install the tested versions',
    is_golden=True,
)
def golden_bfloat16(specimens: Specimens) -> Measurement:
    """By what share a module adds more error in bfloat16 than it should.

    The limit is a tenth of the smallest effect of a planted bug, 0.36 where GELU is computed in
    steps of bfloat16 (norms come to 0.8 and more, angles of rotary embeddings to 20). Processors
    with AMX, with AVX-512 and its bfloat16 units, with AVX2 and without differ by 0.023.
    """
    excesses: dict[str, float] = {}
    for kind in KINDS:
        gemma, exact = (specimens.gemma(kind, dtype=name) for name in ("bfloat16", "float32"))
        own = rounding.measured(gemma, exact, truth.rows(kind, truth.document()["rows"]))
        golden = truth.document()["rounding"][kind]
        excesses |= {
            f"{role} ({kind})": rounding.excess(role, golden[role], error)
            for role, error in own.items()
            if role in golden
        }
    first = next((name for name, share in excesses.items() if share > _ROUNDING), "")
    text = (
        f"In bfloat16 the first module that adds more error than it should is {first}: bfloat16 is "
        "computed wrongly here, or where float32 is called for"
    )
    return Measurement(max(excesses.values()), text if first else "")


@check("golden figures in NF4", limit=truth.LIMIT, advice=AFTERWARDS, is_golden=True)
def golden_nf4(specimens: Specimens) -> Measurement:
    """The same over weights in 4 bits, multiplied in float32."""
    return _measurement(specimens, "nf4")


def _measurement(specimens: Specimens, name: str) -> Measurement:
    document = truth.document()
    suspects, error, likely = [], 0.0, ""
    for kind in KINDS:
        golden = document["figures"][kind][name]
        gemma = specimens.gemma(kind, **truth.FORMATS[name])
        figures = measured(gemma, truth.rows(kind, document["rows"]))
        moves = truth.moves(golden, figures)
        error = max([error, *(move.error for move in moves)])
        wrong = [move for move in moves if move.error > truth.LIMIT]
        suspects += causes.suspects(name, kind, wrong, document["shapes"][kind])
        likely = likely or _likely(golden, wrong, figures.scored, figures.adapted)
        if wrong and not _has_layers(gemma.model, document["shapes"][kind]["layers"]):
            likely = "the pattern of sliding and full layers (layer_types) is another"
    return Measurement(error, causes.advice(suspects, likely))


def _has_layers(model: LanguageModel, golden: list[str]) -> bool:
    """Whether layers are of the kinds that the files say, each in its place."""
    types = model.config.get_text_config().layer_types
    return [name.partition(" ")[0] for name in golden] == list(types)


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
        weight = weights[f"{name}.weight"]
        inputs = uniform(name, (8, module.in_features)).to(weight.device)
        with torch.no_grad():
            return [(module(inputs), inputs @ weight.T)]
    if isinstance(module, QuantisedExperts):
        stacks = [(module.gate_up_proj, "gate_up_proj"), (module.down_proj, "down_proj")]
        return [
            (nf4.matrices(packed, 0, module.num_experts), weights[f"{name}.{stack}"])
            for packed, stack in stacks
        ]
    return []
