"""The sums of a micro-batch that its loss and its accuracy are made of."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch

from engine.data.tokens import IGNORED
from engine.kernels import head

Batch = dict[str, torch.Tensor]


class Scores(NamedTuple):
    """Sums over a micro-batch, each a scalar tensor."""

    loss: torch.Tensor
    """Negative log-likelihood of the supervised tokens."""
    supervised: torch.Tensor
    """Tokens that carry loss."""
    correct: torch.Tensor
    """Those of them that the model thinks most likely."""


def by_trl(model: Any, batch: Batch) -> Scores:
    """By the fused head that TRL has put on the model: Triton's kernels where these run."""
    outputs = model(**batch, use_cache=False, fused_lm_head=True)
    return Scores(-outputs.log_probs.sum(), outputs.label_mask.sum(), outputs.is_top1.sum())


def by_own_head(model: Any, batch: Batch, precision: AbstractContextManager[None]) -> Scores:
    """By the engine's head, with the layers under it in the precision of that context.

    A CPU has no Triton: TRL's head then works through a dozen temporaries of a tile's size, and
    computes all logits once more in the backward pass.
    """
    whole = model.get_base_model()
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with precision:
        hidden = whole.base_model(**inputs, use_cache=False).last_hidden_state
    targets = batch["labels"][:, 1:]
    is_supervised = targets != IGNORED
    softcap = getattr(whole.config.get_text_config(), "final_logit_softcapping", None)
    weight = whole.get_output_embeddings().weight
    loss, correct = head.cross_entropy(
        hidden[:, :-1][is_supervised], weight, targets[is_supervised], softcap
    )
    return Scores(loss, is_supervised.sum(), correct)
