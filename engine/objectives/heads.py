"""From a micro-batch to the log-likelihood of its labels, without all logits at once."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from trl.trainer.utils import add_fused_lm_head

from engine.data.batches import WEIGHTS
from engine.data.encoding.tokens import IGNORED
from engine.hardware import kernel_choice
from engine.kernels import head
from engine.model.load import Loaded
from engine.model.patches.fused_lora import use_fused_lora
from engine.model.patches.supervised_only import score_supervised_only
from engine.model.protocols import AdaptedModel

Batch = dict[str, Any]
"""`input_ids`, `labels` and `position_ids`, each int64 (rows, tokens); pixels of images.

Where rows weigh their loss also `loss_weights`, float32 (rows, tokens).
"""


class Scores(NamedTuple):
    """Sums over a micro-batch, each a scalar tensor."""

    loss: torch.Tensor
    """Negative log-likelihood of the supervised tokens, each times its weight; float32."""
    supervised: torch.Tensor
    """Tokens that carry loss, int64."""
    correct: torch.Tensor
    """Those of them that the model thinks most likely, int64; float32 with their weights."""


Scorer = Callable[[Batch], Scores]


def scorer(model: AdaptedModel, loaded: Loaded, accelerator: Accelerator) -> Scorer:
    """What scores micro-batches with a model that the accelerator has prepared.

    By the engine's own head where Triton has no kernels, else by TRL's. That of Apple's GPUs has
    not been run on one by us; it is what a CPU goes through, with PEFT's layers under it.
    """
    if not loaded.has_own_head:
        put_on_trl_head(model)
        return lambda batch: by_trl(model, batch)
    # Where the adapter's layers cast on their own, autocast would only cost time.
    is_fused = kernel_choice.has_own_lora(loaded.device) and use_fused_lora(model)
    precision = nullcontext if is_fused else accelerator.autocast
    return lambda batch: by_own_head(model, batch, precision())


def put_on_trl_head(model: AdaptedModel) -> None:
    """Let the model of an adapter answer with log-probabilities when it is asked to."""
    score_supervised_only()
    add_fused_lm_head(model.get_base_model(), outputs=("log_probs", "is_top1"))


def by_trl(model: AdaptedModel, batch: Batch) -> Scores:
    """By the fused head that TRL has put on the model: Triton's kernels where these run."""
    inputs = {name: tensor for name, tensor in batch.items() if name != WEIGHTS}
    outputs = model(**inputs, use_cache=False, fused_lm_head=True)
    log_probs, is_top1 = outputs.log_probs, outputs.is_top1
    if WEIGHTS in batch:
        # It gives one of each token, 0 where there is no loss, so that a weight is a product.
        weights = batch[WEIGHTS][:, 1:]
        log_probs, is_top1 = log_probs * weights, is_top1 * weights
    return Scores(-log_probs.sum(), outputs.label_mask.sum(), is_top1.sum())


def by_own_head(
    model: AdaptedModel, batch: Batch, precision: AbstractContextManager[Any]
) -> Scores:
    """By the engine's head, with the layers under it in the precision of that context.

    Without Triton TRL's head then works through a dozen temporaries of a tile's size, and
    computes all logits once more in the backward pass.
    """
    base = model.get_base_model()
    inputs = {name: tensor for name, tensor in batch.items() if name not in ("labels", WEIGHTS)}
    with precision:
        hidden = base.base_model(**inputs, use_cache=False).last_hidden_state
    targets = batch["labels"][:, 1:]
    is_supervised = targets != IGNORED
    softcap = getattr(base.config.get_text_config(), "final_logit_softcapping", None)
    weight = base.get_output_embeddings().weight
    token_weights = batch[WEIGHTS][:, 1:][is_supervised] if WEIGHTS in batch else None
    loss, correct = head.cross_entropy(
        hidden[:, :-1][is_supervised], weight, targets[is_supervised], softcap, token_weights
    )
    return Scores(loss, is_supervised.sum(), correct)
