"""Whether every supervised token counts alike, however rows are split over micro-batches."""

from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import QUESTIONS, Specimens, rows
from engine.doctor.trial import RecordedStep, difference, step


@check(
    "accumulation weighting",
    limit=1e-3,
    advice="Set gradient_accumulation_steps = 1, and install the tested versions: short rows "
    "weigh more than long ones",
)
def accumulation_weighting(specimens: Specimens) -> Measured:
    """Rows of different lengths at once against one after the other, both kinds of classes."""
    found = [_difference(specimens, kind) for kind in ("gemma3", "gemma4_multimodal")]
    return Measured(max(found))


def _difference(specimens: Specimens, kind: str) -> float:
    many = len(QUESTIONS)
    return difference(
        _step(specimens, kind, per_device_train_batch_size=many),
        _step(
            specimens, kind, per_device_train_batch_size=1, gradient_accumulation_steps=many
        ),
    )  # fmt: skip


def _step(specimens: Specimens, kind: str, **settings: int) -> RecordedStep:
    gemma = specimens.gemma(kind)
    return step(gemma, [alone(row) for row in rows(gemma)], **settings)
