"""Answers of the adapter and of the base model under it, greedily, in batches."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from transformers import StoppingCriteriaList

from engine.data.conversation import Conversation
from engine.data.encoding.rendering import Template
from engine.data.encoding.template import prompt_ids
from engine.data.encoding.tokenizer import Tokenizer
from engine.model.protocols import AdaptedModel, LanguageModel

_BATCH_PROMPTS = 64


class Cut(Exception):
    """Answers were cut short: nobody waits for them any more."""


def answer(
    model: AdaptedModel,
    tokenizer: Tokenizer,
    template: Template,
    prompts: list[Conversation],
    max_new_tokens: int,
    *,
    as_base: bool = False,
    is_cut: Callable[[], bool] = lambda: False,
) -> list[str]:
    """The model's answer to each conversation that ends with the user's turn.

    `as_base` switches the adapter off. Raises `Cut` soon after `is_cut` has become true.
    Leaves mode and random state as they were, so that training goes on as if nothing was asked.
    """
    ids = [prompt_ids(tokenizer, template, prompt) for prompt in prompts]
    was_training = model.training
    without_adapter = model.disable_adapter() if as_base else contextlib.nullcontext()
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(), without_adapter, _one_head(model):
            return [
                reply
                for start in range(0, len(ids), _BATCH_PROMPTS)
                for reply in _generate(
                    model,
                    tokenizer,
                    ids[start : start + _BATCH_PROMPTS],
                    max_new_tokens,
                    end_ids(model, tokenizer, template),
                    is_cut,
                )
            ]
    finally:
        model.train(was_training)


@contextlib.contextmanager
def _one_head(model: AdaptedModel) -> Iterator[None]:
    """Let the head see last positions that lie side by side.

    transformers slices them out of the prompts' hidden states, and of such a slice PyTorch makes a
    product per prompt, for each of which a CPU copies the head (ATen, LinearAlgebra.cpp,
    `should_fold`): 0.3 GiB of Gemma 3 270M's, 64 times over.
    """

    def side_by_side(_head: object, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0].contiguous(), *inputs[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(side_by_side)
    try:
        yield
    finally:
        hook.remove()


def end_ids(model: LanguageModel, tokenizer: Tokenizer, template: Template) -> list[int]:
    """Tokens that end an answer: those that the model names, and the end of a turn.

    A model that was only pretrained doesn't name the latter, yet its adapter learns to say it.
    """
    eos = model.generation_config.eos_token_id
    ends = [eos] if isinstance(eos, int) else list(eos or ())
    turn_end = tokenizer.convert_tokens_to_ids(template.turn_end)
    return ends if turn_end in ends else [*ends, turn_end]


def _generate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    max_new_tokens: int,
    ends: list[int],
    is_cut: Callable[[], bool],
) -> list[str]:
    """Greedy answers to one batch of token ids. Raises `Cut`."""
    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    batch = batch.to(model.device)
    was_cut = False

    def ends_all(ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
        """Whether each answer ends here: ids (batch, length) to booleans (batch,)."""
        nonlocal was_cut
        was_cut = was_cut or is_cut()
        return torch.full((len(ids),), was_cut, device=ids.device)

    generated = model.generate(
        **batch,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=ends,
        stopping_criteria=StoppingCriteriaList([ends_all]),
    )
    if was_cut:
        raise Cut
    replies = generated[:, batch["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(replies, skip_special_tokens=True)]
