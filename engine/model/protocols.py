"""What the engine asks of a model and of a tokenizer, whatever class of transformers' it is."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
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

    def get_base_model(self) -> Any:
        """The model under the adapter."""

    def disable_adapter(self) -> AbstractContextManager[None]:
        """Answer as the base for as long as it is entered."""


class Tokenizer(Protocol):
    """A tokenizer of transformers'."""

    bos_token_id: int
    pad_token_id: int

    def __call__(self, text: Any, **kwargs: Any) -> Any:
        """Token ids of texts."""

    def pad(self, encoded: Any, **kwargs: Any) -> Any:
        """Token ids of one length, as tensors."""

    def decode(self, ids: list[int], **kwargs: Any) -> str:
        """The text of token ids."""

    def batch_decode(self, ids: Any, **kwargs: Any) -> list[str]:
        """Their texts, for several answers."""

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or those of several."""

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or those of several."""
