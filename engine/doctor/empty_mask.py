"""Whether micro-batches without a supervised token do no harm, and such rows are left out."""

import json

from engine.data.batches import TokenSequence, alone
from engine.data.prepare import prepare
from engine.data.row_pipeline import NO_LOSS
from engine.data.template import template
from engine.data.tokens import IGNORED
from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens, rows
from engine.doctor.trial import difference, step
from engine.recipe.schema import Data, Source

_LENGTH = 48


@check(
    "empty mask",
    limit=1e-3,
    advice="Raise data.max_length above your longest row, and install the tested versions: a "
    "batch without a supervised token spoils the gradient of others",
)
def empty_mask(specimens: Specimens) -> Measured:
    """A step with an empty micro-batch against one without, and rows that should be left out."""
    kind = "gemma4_multimodal"
    gemma = specimens.gemma(kind)
    row = alone(rows(gemma)[0])
    empty = TokenSequence(row.input_ids, [IGNORED] * len(row.labels), row.position_ids)
    one = {"per_device_train_batch_size": 1}
    without = step(gemma, [row], **one)
    beside = step(specimens.gemma(kind), [row, empty], **one, gradient_accumulation_steps=2)
    left = _let_through(specimens)
    told = f"{left} rows without a supervised token are trained on" if left else ""
    return Measured(difference(without, beside) + left, told)


def _let_through(specimens: Specimens) -> int:
    """Rows of a file that are kept though their answer lies beyond the recipe's max_length."""
    file = specimens.folder / "empty.jsonl"
    talks = [("Name a fruit.", "A pear."), ("Name a fruit. " * _LENGTH, "A pear.")]
    file.write_text(
        "".join(json.dumps({"question": q, "response": a}) + "\n" for q, a in talks)
    )  # fmt: skip
    source = Source(path=str(file), format="question_response")
    data = Data(sources=(source,), max_length=_LENGTH)
    found = prepare(data, specimens.tokenizer("gemma4"), template("gemma4"))
    return len(found.rows) - 1 + (1 - found.dropped[NO_LOSS])
