"""Training without a trainer: the engine's model and kernels in a loop of a dozen lines."""

from typing import Any

import torch
from torch.optim import AdamW

from engine.data.batches import Collator, TokenSequence
from engine.model import lora
from engine.model.load import Loaded
from engine.model.patches.fused_lora import use_fused_lora
from engine.objectives import heads
from engine.recipe.schema import Adapter
from engine.train.loader import GroupedByLength

LISTS = ("input_ids", "labels", "position_ids")
SEED = 0
"""Of a recipe that names none."""


class PlainLoop:
    """What is left where nothing is logged, saved, listened to or checked."""

    def __init__(
        self, loaded: Loaded, sequences: list[TokenSequence], clock: Any, batch: int, rate: float
    ) -> None:
        self.model = lora.attach(loaded.model, Adapter(r=16, lora_alpha=32), 0)
        use_fused_lora(self.model)
        self.data_collator: Any = Collator(loaded.tokenizer.pad_token_id)
        # In the engine's own order, as batches of other rows are padded by more or less.
        order = list(GroupedByLength([len(one.input_ids) for one in sequences], batch, SEED))
        ordered = [sequences[place] for place in order]
        self.batches = [ordered[at : at + batch] for at in range(0, len(ordered), batch)]
        self.clock, self.rate = clock, rate

    def train(self) -> None:
        """One pass over the rows."""
        model = self.model.train()
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
        taught = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = AdamW(taught, lr=self.rate, weight_decay=0.0)
        for rows in self.batches:
            batch = self.data_collator(
                [{name: getattr(row, name) for name in LISTS} for row in rows]
            )
            self.clock.on_step_begin()
            scores = heads.by_own_head(model, batch, torch.enable_grad())
            loss = scores.loss / scores.supervised
            loss.backward()
            torch.nn.utils.clip_grad_norm_(taught, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            self.clock.on_step_end()
            self.clock.on_log(logs={"loss": float(loss)})
