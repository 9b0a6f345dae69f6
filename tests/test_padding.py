"""Padding whose positions go on: no mask is made of it, and nothing else is different."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import masking_utils

from engine.doctor.trial import difference
from engine.hardware import kernel_choice
from tests import tiny
from tests.architectures import BUILDERS
from tests.conftest import KINDS

SHORT = [("Spell cat.", "c a t"), ("Hello!", "Hi."), ("What is two plus three?", "Five.")]
WINDOW = 32
"""Of the tiny models but the embedded one; the usual questions' rows are longer, these shorter."""


def trained(gemma: Any, **settings: Any) -> tuple[tiny.Gradients, int]:
    """Loss and gradients of a step, and how many masks were made for it."""
    steps, masks = tiny.Gradients(), 0
    make = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal masks
        mask = make(*arguments, **named)
        masks += mask is not None
        return mask

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "sdpa", counted)
        tiny.trainer(gemma, steps, per_device_train_batch_size=8, **settings).train()
    return steps, masks


@pytest.mark.parametrize("kind", [*KINDS, *BUILDERS])
@pytest.mark.parametrize("are_short", [True, False], ids=["in the window", "beyond it"])
def test_loss_and_gradients_are_those_of_padding_that_is_masked(
    kind: str, are_short: bool, gemma_folder: Callable[[str], Path]
) -> None:
    """Sliding layers keep their mask where rows reach beyond the window."""
    found = []
    for counts_on in (True, False):
        gemma = replace(tiny.loaded(gemma_folder(kind)), counts_on=counts_on)
        rows = tiny.rows(gemma, SHORT) if are_short else tiny.rows(gemma)
        lengths = {len(row.ids) for row in rows}
        assert len(lengths) > 1
        assert (max(lengths) < WINDOW) is are_short
        found.append(trained(gemma, sequences=[tiny.alone(row) for row in rows]))
    (on, masks), (apart, most_masks) = found
    assert on.losses == pytest.approx(apart.losses, rel=1e-6)
    assert difference(apart, on) < 5e-6
    assert most_masks == 2
    is_within = are_short or kind == "embedded"
    assert masks == (2 if kind == "gemma4_unified" else 0 if is_within else 1)


@pytest.mark.parametrize(
    ("device", "dtype", "has_flash", "expected"),
    [
        ("cpu", "float32", False, True), ("cuda", "bfloat16", True, True),
        ("cuda", "float32", True, False), ("cuda", "float32", False, False),
        ("cuda", "bfloat16", False, False), ("mps", "bfloat16", False, True),
    ],
)  # fmt: skip
def test_positions_go_on_where_a_kernel_takes_no_mask(
    device: str, dtype: Any, has_flash: bool, expected: bool
) -> None:
    assert kernel_choice.counts_on(device, dtype, has_flash=has_flash) is expected
