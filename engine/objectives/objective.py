"""What an objective is: everything about a training run that follows from what it learns."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch

from engine.data.batches import Collate, TokenSequences
from engine.data.encoding.rendering import Template
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.images.image_tokenizer import ImageTokenizer
from engine.data.prepare import Prepared
from engine.events import Metric
from engine.objectives.heads import Batch, Scorer
from engine.recipe.schema import Data


class Loss(NamedTuple):
    """Sums over a micro-batch, each a scalar tensor."""

    total: torch.Tensor
    """What is minimised, once it is divided by the weight of the whole optimizer step; float32."""
    supervised: torch.Tensor
    """Tokens that carry loss, int64."""
    sums: dict[str, torch.Tensor]
    """By metric, what is divided by the same weight for the step's figure."""


class Objective(Protocol):
    """One kind of training; the loop knows nothing else of it."""

    @property
    def name(self) -> str:
        """By which `engine/budget/micro_batch.py` says what its micro-batches take of memory."""
        ...

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Of each step: `loss`, and those named in `Loss.sums`, in their order."""
        ...

    def prepare(
        self,
        data: Data,
        tokenizer: Tokenizer,
        template: Template,
        images: ImageTokenizer | None,
        tell: Callable[[str], None],
    ) -> Prepared:
        """Rows as tokens; how far that is gets told. Raises `Refusal` where none can be used."""
        ...

    def sequences(self, data: Data, prepared: Prepared) -> TokenSequences:
        """What stands in one sequence each: a row, or as many as packing lays together."""
        ...

    def collator(self, pad_token_id: int, *, counts_on: bool) -> Collate:
        """What makes micro-batches of sequences; with `counts_on`, positions go on in padding."""
        ...

    def weight(self, batch: Batch) -> torch.Tensor:
        """What a micro-batch counts in the mean of its step: a scalar tensor.

        It is int64, or float32 where the rows of the run weigh their loss.
        """
        ...

    def loss(self, score: Scorer, batch: Batch) -> Loss:
        """Forward pass of a micro-batch."""
        ...
