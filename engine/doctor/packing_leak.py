"""Whether rows that share a sequence see each other."""

from engine.data.batches import TokenSequence, alone, pack
from engine.doctor.check import Measured, check
from engine.doctor.specimens import KINDS, Specimens, rows
from engine.doctor.trial import difference, step


@check(
    "packing leak",
    limit=1e-3,
    advice="Set data.packing = false and training.per_device_train_batch_size = 1, and install "
    "the tested versions: rows of a batch attend to each other or to padding",
)
def packing_leak(specimens: Specimens) -> Measured:
    """Loss and gradients of packed rows against the same rows one by one, on every architecture."""
    found = {kind: _difference(specimens, kind) for kind in KINDS}
    worst = max(found, key=lambda kind: found[kind])
    return Measured(found[worst], f"Most in {worst}")


def _difference(specimens: Specimens, kind: str) -> float:
    gemma = specimens.gemma(kind)
    given = rows(gemma)
    length = max(len(row.ids) for row in given) + min(len(row.ids) for row in given)
    packed: list[TokenSequence] = list(pack(given, length))
    together = step(gemma, packed, per_device_train_batch_size=len(packed))
    apart = step(
        specimens.gemma(kind),
        [alone(row) for row in given],
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(given),
    )
    return difference(apart, together)
