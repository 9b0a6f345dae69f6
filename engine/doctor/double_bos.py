"""Whether rows and prompts begin with one beginning-of-sequence token."""

from engine.data.template import prompt_ids, template
from engine.data.tokens import tokenize
from engine.doctor.check import Measured, check
from engine.doctor.specimens import DIALECTS, TALK, Specimens


@check(
    "double BOS",
    limit=0,
    advice="Install the tested versions: the template and the tokenizer both write the token, or "
    "neither does",
    is_fast=True,
)
def double_bos(specimens: Specimens) -> Measured:
    """Tokens too many or too few in a row and in its prompt, over all dialects."""
    many = sum(_wrong(specimens, dialect) for dialect in DIALECTS)
    return Measured(many)


def _wrong(specimens: Specimens, dialect: str) -> int:
    chosen, tokenizer = template(dialect), specimens.tokenizer(dialect)
    (row,) = tokenize(tokenizer, chosen, [TALK], "all", 512)
    prompt = prompt_ids(tokenizer, chosen, TALK[:-1])
    begin = tokenizer.bos_token_id
    return sum(abs(ids.count(begin) - 1) + (ids[0] != begin) for ids in (row.ids, prompt))
