"""Whether accumulation steps leave loss and gradient at their size."""

from engine.data.batches import alone
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import difference, step


@check(
    "accumulation scaling",
    limit=1e-3,
    advice="Set gradient_accumulation_steps = 1, and install the tested versions: loss and "
    "gradient are multiplied by the accumulation steps",
)
def accumulation_scaling(specimens: Specimens) -> Measured:
    """Two equal rows at once against one after the other, where the class refuses a token count.

    As the rows are equal, a mean of means is right too.
    """
    once, split = (
        step(gemma, [alone(rows(gemma)[0])] * 2, **settings)
        for settings in (
            {"per_device_train_batch_size": 2},
            {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},
        )
        for gemma in (specimens.gemma("gemma4_multimodal"),)
    )
    times = split.losses[0] / once.losses[0]
    return Measured(difference(once, split), f"The loss of two steps is {times:.3f} times one's")
