"""Supervised fine-tuning: the mean negative log-likelihood of the tokens that carry loss."""

from collections.abc import Callable
from typing import Any

import torch

from engine import user_dirs
from engine.data.batches import Collate, Collator, TokenSequences, apart, pack
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokens import IGNORED
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.data.prepare import Prepared, prepare
from engine.events import Metric
from engine.events.kinds import LOSS, TOKEN_ACCURACY
from engine.objectives.heads import Batch, Scorer
from engine.objectives.objective import Loss
from engine.recipe.schema import Data


class SupervisedFineTuning:
    """Rows are conversations; their marked answers carry loss, each token as much as any other."""

    metrics: tuple[Metric, ...] = (LOSS, TOKEN_ACCURACY)

    def prepare(
        self,
        data: Data,
        tokenizer: Any,
        template: Template,
        images: ImageTokenizer | None,
        tell: Callable[[str], None],
    ) -> Prepared:
        """Rows as tokens, from the cache where they were prepared before."""
        return prepare(data, tokenizer, template, user_dirs.cache(), sight=images, tell=tell)

    def sequences(self, data: Data, prepared: Prepared) -> TokenSequences:
        """Rows packed up to the recipe's length, or each by itself."""
        if data.packing:
            return pack(prepared.rows, data.max_length, prepared.rows.sizes().tolist())
        return apart(prepared.rows)

    def collator(self, pad_token_id: int) -> Collate:
        """Sequences padded at the right to the longest of them."""
        return Collator(pad_token_id)

    def weight(self, batch: Batch) -> torch.Tensor:
        """Tokens that carry loss: labels are shifted by one, so the first is never predicted."""
        count: torch.Tensor = (batch["labels"][:, 1:] != IGNORED).sum()
        return count

    def loss(self, score: Scorer, batch: Batch) -> Loss:
        """Summed negative log-likelihood of a micro-batch, and how often its labels come first."""
        scores = score(batch)
        return Loss(scores.loss, {"token_accuracy": scores.correct})
