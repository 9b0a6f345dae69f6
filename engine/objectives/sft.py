"""Supervised fine-tuning: the mean negative log-likelihood of the tokens that carry loss."""

from collections.abc import Callable

import torch

from engine import user_dirs
from engine.budget.micro_batch import SFT
from engine.data.batches import WEIGHTS, Collate, Collator, TokenSequences, apart, pack
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.encoding.tokens import IGNORED
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.data.prepare import Prepared, prepare
from engine.events import Metric
from engine.events.kinds import LOSS, TOKEN_ACCURACY
from engine.objectives.heads import Batch, Scorer
from engine.objectives.objective import Loss
from engine.recipe.schema import Data


class SupervisedFineTuning:
    """Rows are conversations; their marked answers carry loss, each token as much as any other.

    Where rows weigh their answers the loss is the weighted mean: the sum of each token's negative
    log-likelihood times its weight, by the sum of the weights. So an answer of weight 0 counts as
    if it carried no loss, and rows that all weigh the same count as if they had no weights.
    """

    name = SFT
    metrics: tuple[Metric, ...] = (LOSS, TOKEN_ACCURACY)

    def prepare(
        self,
        data: Data,
        tokenizer: Tokenizer,
        template: Template,
        images: ImageTokenizer | None,
        tell: Callable[[str], None],
    ) -> Prepared:
        """Rows as tokens, from the cache where they were prepared before."""
        return prepare(data, tokenizer, template, user_dirs.cache(), sight=images, tell=tell)

    def sequences(self, data: Data, prepared: Prepared) -> TokenSequences:
        """Rows packed up to the recipe's length, or each by itself."""
        rows = prepared.rows
        if data.packing:
            sizes = rows.sizes().tolist()
            return pack(rows, data.max_length, sizes, is_weighed=rows.hold_weights)
        return apart(rows, is_weighed=rows.hold_weights)

    def collator(self, pad_token_id: int, *, counts_on: bool) -> Collate:
        """Sequences padded at the right to the longest of them."""
        return Collator(pad_token_id, counts_on)

    def weight(self, batch: Batch) -> torch.Tensor:
        """Tokens that carry loss: labels are shifted by one, so the first is never predicted.

        The sum of their weights where they have some.
        """
        counted: torch.Tensor = batch["labels"][:, 1:] != IGNORED
        if WEIGHTS in batch:
            counted = counted * batch[WEIGHTS][:, 1:]
        return counted.sum()

    def loss(self, score: Scorer, batch: Batch) -> Loss:
        """Summed negative log-likelihood of a micro-batch, and how often its labels come first."""
        scores = score(batch)
        return Loss(scores.loss, scores.supervised, {"token_accuracy": scores.correct})
