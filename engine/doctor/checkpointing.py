"""Whether gradient checkpointing leaves gradients as they are where keys and values are shared."""

from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import SHARING, Specimens, rows
from engine.doctor.trial import Kept, difference, step


@check(
    "checkpointing gradients",
    limit=1e-3,
    advice="Set training.gradient_checkpointing = false, and install the tested versions",
)
def checkpointing_gradients(specimens: Specimens) -> Measured:
    """The engine's checkpointing against none; the reentrant kind is measured beside it."""
    found, reentrant = [], []
    for kind in SHARING:
        plain = _step(specimens, kind)
        found.append(difference(plain, _step(specimens, kind, gradient_checkpointing=True)))
        wrong = _step(specimens, kind, gradient_checkpointing=True, is_reentrant=True)
        reentrant.append(difference(plain, wrong))
    told = f"Reentrant checkpointing, which the engine never uses, is off by {max(reentrant):.0%}"
    return Measured(max(found), told, told)


def _step(specimens: Specimens, kind: str, **settings: bool) -> Kept:
    gemma = specimens.gemma(kind)
    return step(gemma, [alone(row) for row in rows(gemma)[:2]], **settings)
