"""Whether a model learns to end its turn."""

from engine.data.template import template
from engine.data.tokens import tokenize
from engine.doctor.check import Measured, check
from engine.doctor.specimens import DIALECTS, TALK, Specimens


@check(
    "terminator supervised",
    limit=0,
    advice="Install the tested versions: answers would go on without an end",
    is_fast=True,
)
def terminator_supervised(specimens: Specimens) -> Measured:
    """How many answers of a talk lack a supervised end of turn, over all dialects."""
    answers = sum(turn.role == "assistant" for turn in TALK)
    missing = {dialect: answers - _supervised(specimens, dialect) for dialect in DIALECTS}
    told = ", ".join(f"{dialect} lacks {many}" for dialect, many in missing.items() if many)
    return Measured(sum(map(abs, missing.values())), told)


def _supervised(specimens: Specimens, dialect: str) -> int:
    chosen, tokenizer = template(dialect), specimens.tokenizer(dialect)
    (row,) = tokenize(tokenizer, chosen, [TALK], "assistant", 512)
    return row.labels.count(tokenizer.convert_tokens_to_ids(chosen.turn_end))
