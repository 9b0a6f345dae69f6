"""A model's tokenizer and configuration, without its weights."""

from typing import Any

from transformers import AutoConfig, AutoTokenizer

from engine.gemma.gguf import checkpoint, files
from engine.gemma.shapes import EMBEDDED
from engine.paths import EMBEDDED_WEIGHTS
from engine.problems import Refusal
from engine.recipe.schema import Model


def folder_or_id(choice: Model) -> str:
    """Where transformers finds the model, or all of it but the weights of a GGUF file.

    Raises `Refusal`.
    """
    if choice.path != EMBEDDED and files.is_gguf(choice.path):
        return str(checkpoint.described(choice.path))
    return str(EMBEDDED_WEIGHTS) if choice.path == EMBEDDED else choice.path


def tokenizer(choice: Model) -> Any:
    """The model's tokenizer."""
    return AutoTokenizer.from_pretrained(folder_or_id(choice), revision=choice.revision)


def tokenizer_and_config(choice: Model) -> tuple[Any, Any]:
    """Both, for who needs no weights. Raises `Refusal` where they can't be had."""
    try:
        config = AutoConfig.from_pretrained(folder_or_id(choice), revision=choice.revision)
        return tokenizer(choice), config
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:300].rstrip(". ") or type(error).__name__
        fix = "Check the path, the network and `hf auth login`, or give the folder of a Gemma"
        raise Refusal.of(choice.path, reason, fix, key="model.path") from None
