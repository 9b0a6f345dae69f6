"""Checks of Gemma's own mechanisms: tables in host memory."""

from engine.doctor.check import Measured, check
from engine.doctor.specimens import TABLES, Specimens, sequences
from engine.doctor.trial import RecordedStep, difference, step


@check(
    "host tables equal device tables",
    limit=0,
    advice="Set model.host_tables = false and install the tested versions: rows that come from "
    "host memory are not those of the tokens",
)
def host_tables(specimens: Specimens) -> Measured:
    """Loss and gradients of two micro-batches with per-layer embeddings here and there."""
    return Measured(
        max(
            difference(*(_step(specimens, kind, on_host) for on_host in (False, True)))
            for kind in TABLES
        )
    )


def _step(specimens: Specimens, kind: str, on_host: bool) -> RecordedStep:
    gemma = specimens.gemma(kind, host_tables=on_host)
    batches = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    return step(gemma, sequences(gemma), **batches)
