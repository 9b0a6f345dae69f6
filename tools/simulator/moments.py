"""Which moment of a step it is: the pass of a layer, the head, or the optimizer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from trl.kernels import chunked_logprob

from tools.simulator.tracker import Moment, Tracker


@contextmanager
def named(tracker: Tracker, model: Any) -> Iterator[int]:
    """Name the moment by decoder layer and by the head; gives the number of layers."""
    layers = decoder_layers(model)
    hooks = [
        hook
        for number, layer in enumerate(layers)
        for hook in (
            layer.register_forward_pre_hook(_entering(tracker, number)),
            layer.register_forward_hook(_leaving(tracker, number)),
        )
    ]
    head = chunked_logprob.ChunkedLogProbFunction
    originals: dict[str, Any] = {name: vars(head)[name] for name in ("forward", "backward")}
    for name, original in originals.items():
        setattr(head, name, staticmethod(_within(tracker, f"head {name}", original.__func__)))
    try:
        yield len(layers)
    finally:
        for name, original in originals.items():
            setattr(head, name, original)
        for hook in hooks:
            hook.remove()


def decoder_layers(model: Any) -> list[Any]:
    """The language model's layers, in order."""
    named_so = [m for m in model.modules() if type(m).__name__.endswith("DecoderLayer")]
    of_text = [m for m in named_so if "Text" in type(m).__name__]
    return of_text or named_so


def _entering(tracker: Tracker, number: int) -> Callable[..., None]:
    def enter(*_: Any) -> None:
        tracker.moment = Moment(tracker.moment.doing, number)

    return enter


def _leaving(tracker: Tracker, number: int) -> Callable[..., None]:
    """A layer's backward pass begins where the gradient of its output is there."""

    def begin(_: torch.Tensor) -> None:
        tracker.moment = Moment("backward", number)

    def leave(_module: Any, _inputs: Any, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        if hidden.requires_grad:
            hidden.register_hook(begin)

    return leave


def _within(tracker: Tracker, doing: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        before = tracker.moment
        tracker.moment = Moment(doing)
        try:
            return original(*args)
        finally:
            tracker.moment = before

    return run
