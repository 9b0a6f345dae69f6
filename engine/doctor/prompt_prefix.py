"""Whether rows begin with what the model sees at inference."""

from engine.data.template import prompt_ids, template
from engine.data.tokens import IGNORED, tokenize
from engine.doctor.check import Measured, check
from engine.doctor.specimens import DIALECTS, TALK, Specimens


@check(
    "prompt is a prefix",
    limit=0,
    advice='Set data.template = "model", look at gemma-bench preview, and install the tested '
    "versions: the model is trained on another text than it will be asked with",
    is_fast=True,
)
def prompt_is_a_prefix(specimens: Specimens) -> Measured:
    """Of how many dialects the inference prompt is not where the loss begins."""
    wrong = [dialect for dialect in DIALECTS if not _is_prefix(specimens, dialect)]
    return Measured(len(wrong), ", ".join(wrong))


def _is_prefix(specimens: Specimens, dialect: str) -> bool:
    chosen, tokenizer = template(dialect), specimens.tokenizer(dialect)
    (row,) = tokenize(tokenizer, chosen, [TALK], "last", 512)
    prompt = prompt_ids(tokenizer, chosen, TALK[:-1])
    carried = [place for place, label in enumerate(row.labels) if label != IGNORED]
    return row.ids[: len(prompt)] == prompt and carried[:1] == [len(prompt)]
