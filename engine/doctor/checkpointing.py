"""Whether gradient checkpointing leaves gradients as they are where keys and values are shared."""

from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import SHARING, Specimens, rows
from engine.doctor.trial import RecordedStep, difference, step


@check(
    "checkpointing gradients",
    limit=1e-3,
    advice="Set training.gradient_checkpointing = false, and install the tested versions",
)
def checkpointing_gradients(specimens: Specimens) -> Measured:
    """The engine's checkpointing against none; the reentrant kind is measured beside it."""
    plain = {kind: _step(specimens, kind) for kind in SHARING}
    figure = max(
        difference(plain[kind], _step(specimens, kind, gradient_checkpointing=True))
        for kind in SHARING
    )
    told = _reentrant(specimens, plain)
    return Measured(figure, told, told)


def _reentrant(specimens: Specimens, plain: dict[str, RecordedStep]) -> str:
    """What the other kind does; packages may drop it without harm to the engine."""
    kind = SHARING[0]
    subject = "Reentrant checkpointing, which the engine never uses,"
    try:
        wrong = _step(specimens, kind, gradient_checkpointing=True, is_reentrant=True)
    except Exception as error:
        return f"{subject} could not be tried: {type(error).__name__}: {error}"
    return f"{subject} is off by {difference(plain[kind], wrong):.0%}"


def _step(specimens: Specimens, kind: str, **settings: bool) -> RecordedStep:
    gemma = specimens.gemma(kind)
    return step(gemma, [alone(row) for row in rows(gemma)[:2]], **settings)
