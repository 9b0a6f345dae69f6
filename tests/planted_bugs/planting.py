"""How bugs are planted: what is built, returned or loaded is changed."""

from collections.abc import Callable
from typing import Any

from engine.model import load

Change = Callable[[Any], None]


def built(kind: type, change: Change) -> None:
    """Change each new instance of a class."""
    right = kind.__init__

    def wrong(self: Any, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        change(self)

    kind.__init__ = wrong


def returned(owner: Any, name: str, change: Callable[[Any, Any], Any]) -> None:
    """Change what a function returns, by its first argument and the result."""
    right = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: change(args[0], right(*args, **kwargs)))


def loaded(change: Change) -> None:
    """Change each model once it is loaded."""
    right = load.AutoModelForCausalLM.from_pretrained

    def wrong(*args: Any, **kwargs: Any) -> Any:
        model, info = right(*args, **kwargs)
        change(model)
        return model, info

    load.AutoModelForCausalLM.from_pretrained = wrong


def rotary(change: Change) -> None:
    """Change the rotary embeddings of each model once it is loaded."""
    loaded(lambda model: change(model.get_decoder().rotary_emb))
