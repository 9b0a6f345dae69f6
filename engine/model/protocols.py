"""What the engine asks of a model, whatever class of transformers' it is."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

import torch


class LanguageModel(Protocol):
    """A causal language model: a module with a configuration, on one device."""

    config: Any
    generation_config: Any
    training: bool

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Logits (batch, length, vocabulary) and more, for token ids (batch, length)."""

    def eval(self) -> Self:
        """Switch dropout and checkpointing off."""

    def train(self, mode: bool = True) -> Self:
        """Switch them on."""

    def generate(self, **kwargs: Any) -> torch.Tensor:
        """Token ids (batch, length) that continue those of `input_ids`."""

    def get_decoder(self) -> Any:
        """Its language model, with `layers`."""

    def get_output_embeddings(self) -> Any:
        """Its head."""

    def modules(self) -> Iterator[Any]:
        """Itself and all modules below it."""

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """The same with their dotted names."""

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """All weights."""

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """The same with their dotted names."""

    def get_submodule(self, target: str) -> Any:
        """The module of a dotted name."""

    def set_submodule(self, target: str, module: torch.nn.Module) -> None:
        """Put another in its place."""


class AdaptedModel(LanguageModel, Protocol):
    """A model with a LoRA adapter, as PEFT makes it."""

    peft_config: dict[str, Any]
    """PEFT's configuration by the adapter's name."""

    def get_base_model(self) -> Any:
        """The model under the adapter."""

    def num_parameters(self, *, only_trainable: bool = False) -> int:
        """How many weights it has, the adapter's included."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all weights."""

    def enable_input_require_grads(self) -> None:
        """Let layers that are computed again have a gradient, with frozen embeddings."""

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any]) -> None:
        """Compute layers again for the backward pass in the place of keeping what they hold."""

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """Write the adapter in PEFT's layout."""

    def disable_adapter(self) -> AbstractContextManager[None]:
        """Answer as the base for as long as it is entered."""
