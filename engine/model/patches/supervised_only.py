"""TRL's fused head scores only the tokens that carry loss, on every device.

It does so where Triton runs and scores every position elsewhere, which on a CPU is most of a step
when few tokens carry loss.
"""

from trl.trainer import utils

from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor(
    "trl",
    "==1.16.*",
    ("trl.trainer.utils:_use_triton", "trl.trainer.utils:_ChunkedLogProbFunction"),
)


def score_supervised_only() -> None:
    """Make TRL's fused head project supervised positions only, from now on in this process.

    The name is looked up in this module for that choice alone; the kernels keep their own.
    """
    WRITTEN_FOR.check()
    utils._use_triton = lambda device: True
