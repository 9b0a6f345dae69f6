"""A step of bitsandbytes' optimizers without a wait for the card after each tensor.

What follows on the card comes after them in the same stream anyway. Only paged moments need a wait:
the host may touch them. Gemma 3 270M's adapter has 252 tensors.
"""

from functools import wraps
from types import MethodType
from typing import Any

from bitsandbytes.optim import optimizer as bitsandbytes_optimizer
from torch.optim import Optimizer

from engine.model.patches.replaced import replaced
from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor("bitsandbytes", "==0.50.*", ("bitsandbytes.optim.optimizer:sync_gpu",))


def step_without_waits(optimizer: Optimizer) -> None:
    """Let an optimizer whose moments are not paged launch its kernels one after the other."""
    step = type(optimizer).step

    @wraps(step)
    def launched(self: Any, closure: Any = None) -> Any:
        with replaced(bitsandbytes_optimizer, "sync_gpu", lambda _wait: lambda _tensor: None):
            return step(self, closure)

    optimizer.step = MethodType(launched, optimizer)  # type: ignore[method-assign]
