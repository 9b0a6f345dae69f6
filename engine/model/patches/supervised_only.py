"""Score only the tokens that carry loss, on every device.

TRL's fused head does so where Triton runs and scores every position elsewhere, which on a CPU is
most of a step when few tokens carry loss.
"""

import torch
from trl.trainer import utils


def score_supervised_only() -> None:
    """Make TRL's fused head project supervised positions only.

    The name is looked up in this module for that choice alone; the kernels keep their own.
    """
    if not callable(getattr(utils, "_use_triton", None)):
        raise RuntimeError("this TRL chooses the positions it scores in another way")
    utils._use_triton = _everywhere


def _everywhere(device: torch.device) -> bool:
    return True
