"""A model's tokenizer and configuration, without its weights."""

from typing import Any, Protocol

import torch
from transformers import AutoConfig, AutoTokenizer

from engine.gemma.gguf import checkpoint, files
from engine.gemma.shapes import EMBEDDED
from engine.paths import EMBEDDED_WEIGHTS
from engine.problems import Refusal
from engine.recipe.schema import Model


class Vocabulary(Protocol):
    """What an encoder needs of a tokenizer."""

    @property
    def backend_tokenizer(self) -> Any:
        """What encodes, of the package `tokenizers`."""

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """Tokens by what they are for."""


class Tokenizer(Vocabulary, Protocol):
    """A tokenizer of transformers'."""

    bos_token_id: int
    pad_token_id: int
    chat_template: str | None
    eot_token: str
    """The end of a turn, in tokenizers of Gemma's."""

    def __hash__(self) -> int:
        """By identity, so that what is made of one can be kept."""

    def apply_chat_template(self, conversation: list[dict[str, Any]], **kwargs: object) -> Any:
        """A conversation as text, or as token ids, by its own template."""

    def __call__(self, text: str | list[str], **kwargs: object) -> Any:
        """Token ids of texts."""

    def pad(self, encoded: dict[str, list[list[int]]], **kwargs: object) -> Any:
        """Token ids of one length, as tensors."""

    def decode(self, ids: list[int], **kwargs: object) -> str:
        """The text of token ids."""

    def batch_decode(self, ids: torch.Tensor | list[list[int]], **kwargs: object) -> list[str]:
        """Their texts, for several answers."""

    def convert_tokens_to_ids(self, tokens: str | list[str]) -> Any:
        """The id of a token, or those of several."""

    def convert_ids_to_tokens(self, ids: int | list[int]) -> Any:
        """The token of an id, or those of several."""


def folder_or_id(choice: Model) -> str:
    """Where transformers finds the model, or all of it but the weights of a GGUF file.

    Raises `Refusal`.
    """
    if choice.path != EMBEDDED and files.is_gguf(choice.path):
        return str(checkpoint.described(choice.path))
    return str(EMBEDDED_WEIGHTS) if choice.path == EMBEDDED else choice.path


def tokenizer(choice: Model) -> Tokenizer:
    """The model's tokenizer."""
    return AutoTokenizer.from_pretrained(folder_or_id(choice), revision=choice.revision)


def tokenizer_and_config(choice: Model) -> tuple[Tokenizer, Any]:
    """Both, for who needs no weights. Raises `Refusal` where they can't be had."""
    try:
        config = AutoConfig.from_pretrained(folder_or_id(choice), revision=choice.revision)
        return tokenizer(choice), config
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:300].rstrip(". ") or type(error).__name__
        fix = "Check the path, the network and `hf auth login`, or give the folder of a Gemma"
        raise Refusal.of(choice.path, reason, fix, key="model.path") from None
