"""Bugs of rows: their tokens, their labels, and what packing makes of them."""

from typing import Any

import torch
from trl.trainer import utils

from engine.data.batches import Collator
from engine.data.encoding import tokens
from engine.data.encoding.tokens import IGNORED, Encoder
from engine.objectives import heads
from tests.planted_bugs.planting import returned

BEGIN, TURN_END, NEW_LINE = 2, 106, 107


def labels_shifted_twice() -> None:
    def change(_: Any, batch: Any) -> Any:
        labels = batch["labels"].roll(-1, dims=1)
        labels[:, -1] = IGNORED
        return {**batch, "labels": labels}

    returned(Collator, "__call__", change)


def labels_of_all() -> None:
    def change(_: Any, batch: Any) -> Any:
        is_padding = batch["input_ids"] == 0
        return {**batch, "labels": batch["input_ids"].masked_fill(is_padding, IGNORED)}

    returned(Collator, "__call__", change)


def mask_of_ones() -> None:
    """As most trainers hand it over: rows that are packed see each other."""

    def change(_: Any, batch: Any) -> Any:
        return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}

    returned(Collator, "__call__", change)


def positions_that_go_on() -> None:
    """Positions of a packed sequence are counted from its beginning."""

    def change(_: Any, batch: Any) -> Any:
        ids = batch["input_ids"]
        return {**batch, "position_ids": torch.arange(ids.shape[1]).expand_as(ids)}

    returned(Collator, "__call__", change)


def no_line_break() -> None:
    """As where the engine's own patching of a template loses it."""

    def kept(ids: list[int], place: int) -> bool:
        return not (ids[place] == NEW_LINE and place and ids[place - 1] == TURN_END)

    def change(_: Any, rows: Any) -> Any:
        return [
            row._replace(
                ids=[one for place, one in enumerate(row.ids) if kept(row.ids, place)],
                mask=[one for place, one in enumerate(row.mask) if kept(row.ids, place)],
            )
            for row in rows
        ]

    returned(Encoder, "encode", change)


def no_loss_on_the_end() -> None:
    returned(tokens, "labels", lambda ids, out: [IGNORED if x == TURN_END else x for x in out])


def begin_twice() -> None:
    returned(Encoder, "encode",
             lambda _, rows: [row._replace(ids=[BEGIN, *row.ids], mask=[0, *row.mask])
                              for row in rows])  # fmt: skip


def users_supervised() -> None:
    returned(Encoder, "encode",
             lambda _, rows: [row._replace(mask=[1] * len(row.ids)) for row in rows])  # fmt: skip


def no_system() -> None:
    right = Encoder.encode
    Encoder.encode = lambda self, talks: right(
        self, [tuple(turn for turn in talk if turn.role != "system") for talk in talks]
    )


def bytes_unknown() -> None:
    """Signs without a token of their own become unknown ones, not their bytes."""

    def change(encoder: Any, rows: Any) -> Any:
        every = {encoder._backend.token_to_id(f"<0x{n:02X}>") for n in range(256)}
        return [row._replace(ids=[3 if x in every else x for x in row.ids]) for row in rows]

    returned(Encoder, "encode", change)


def trl_scores_every_token() -> None:
    """TRL's head takes the mark of what carries no loss for a token."""
    right = utils.add_fused_lm_head

    def wrong(model: Any, **kwargs: Any) -> None:
        right(model, **kwargs)
        model.register_forward_pre_hook(_all_supervised, with_kwargs=True)

    heads.add_fused_lm_head = wrong


def _all_supervised(model: Any, args: Any, kwargs: Any) -> Any:
    labels = kwargs.get("labels")
    return (args, kwargs if labels is None else {**kwargs, "labels": labels.clamp(min=0)})
