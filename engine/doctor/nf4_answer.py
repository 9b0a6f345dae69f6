"""Whether 4-bit layers train after an answer as they do before one."""

import torch

from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import difference, step


@check(
    "NF4 layers after an answer",
    limit=1e-3,
    advice='Set model.quantization = "none" or samples.prompts = [], and install the tested '
    "versions: a 4-bit layer that answered once computes something else in training",
)
def nf4_after_an_answer(specimens: Specimens) -> Measured:
    """Loss and gradients of a model that answered before its step, and of one that did not."""
    silent, asked = (specimens.gemma("gemma3", quantization="nf4") for _ in range(2))
    with torch.no_grad():
        asked.model(torch.tensor([rows(asked)[0].ids]))
    found = [step(gemma, [alone(row) for row in rows(gemma)]) for gemma in (silent, asked)]
    return Measured(difference(*found))
