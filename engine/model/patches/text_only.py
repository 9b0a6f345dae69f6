"""A multimodal Gemma without its towers, under the names that it has with them.

The class stays that of the checkpoint, so that adapters fit it as it is published; what is never
built is never read from the files, and takes no memory.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from transformers.models.gemma3.modeling_gemma3 import Gemma3Model
from transformers.models.gemma4.modeling_gemma4 import Gemma4Model
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedModel

from engine.gemma.towers import MODULES

_CLASSES = (Gemma3Model, Gemma4Model, Gemma4UnifiedModel)


@contextmanager
def left_out(is_text_only: bool) -> Iterator[None]:
    """While it lasts, models are built without vision and audio where only text will be read."""
    with ExitStack() as stack:
        for kind in _CLASSES if is_text_only else ():
            stack.enter_context(_without(kind))
        yield


@contextmanager
def _without(kind: Any) -> Iterator[None]:
    made: Callable[..., None] = kind.__init__

    @wraps(made)
    def build(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        for name in MODULES:
            if getattr(self, name, None) is not None:
                setattr(self, name, None)
                self._keys_to_ignore_on_load_unexpected.add(rf"(^|\.){name}\.")

    kind.__init__ = build
    try:
        yield
    finally:
        kind.__init__ = made


def towers(model: Any) -> list[str]:
    """Names of the towers and projections that a model has."""
    return [name for name, _ in model.named_modules() if name.rpartition(".")[2] in MODULES]
