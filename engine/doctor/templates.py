"""Checks of what becomes of a conversation: its end, its prompt and its first token."""

from engine.data.encoding.template import prompt_ids, template
from engine.data.encoding.tokens import IGNORED, tokenize
from engine.doctor.check import Measurement, check
from engine.doctor.specimens import DIALECTS, TALK, Specimens


@check(
    "terminator supervised",
    limit=0,
    advice="Install the tested versions: answers would go on without an end",
    is_fast=True,
)
def terminator_supervised(specimens: Specimens) -> Measurement:
    """Count answers of a conversation without a supervised end of turn, over all dialects."""
    answers = sum(turn.role == "assistant" for turn in TALK)
    missing = {dialect: answers - _supervised_ends(specimens, dialect) for dialect in DIALECTS}
    lacks = ", ".join(f"{dialect} lacks {count}" for dialect, count in missing.items() if count)
    return Measurement(sum(map(abs, missing.values())), lacks)


def _supervised_ends(specimens: Specimens, dialect: str) -> int:
    dialects_template, tokenizer = template(dialect), specimens.tokenizer(dialect)
    (row,) = tokenize(tokenizer, dialects_template, [TALK], "assistant", 512)
    return row.labels.count(tokenizer.convert_tokens_to_ids(dialects_template.turn_end))


@check(
    "prompt is a prefix",
    limit=0,
    advice='Set data.template = "model", look at gemma-bench preview, and install the tested '
    "versions: the model is trained on another text than it will be asked with",
    is_fast=True,
)
def prompt_is_a_prefix(specimens: Specimens) -> Measurement:
    """Count dialects whose prompt at inference is not where the loss begins."""
    wrong = [dialect for dialect in DIALECTS if not _is_prefix(specimens, dialect)]
    return Measurement(len(wrong), ", ".join(wrong))


def _is_prefix(specimens: Specimens, dialect: str) -> bool:
    dialects_template, tokenizer = template(dialect), specimens.tokenizer(dialect)
    (row,) = tokenize(tokenizer, dialects_template, [TALK], "last", 512)
    prompt = prompt_ids(tokenizer, dialects_template, TALK[:-1])
    supervised = [index for index, label in enumerate(row.labels) if label != IGNORED]
    return row.ids[: len(prompt)] == prompt and supervised[:1] == [len(prompt)]


@check(
    "double BOS",
    limit=0,
    advice="Install the tested versions: the template and the tokenizer both write the token, or "
    "neither does",
    is_fast=True,
)
def double_bos(specimens: Specimens) -> Measurement:
    """Count tokens too many or too few in a row and in its prompt, over all dialects."""
    return Measurement(sum(_wrong_bos(specimens, dialect) for dialect in DIALECTS))


def _wrong_bos(specimens: Specimens, dialect: str) -> int:
    dialects_template, tokenizer = template(dialect), specimens.tokenizer(dialect)
    (row,) = tokenize(tokenizer, dialects_template, [TALK], "all", 512)
    prompt = prompt_ids(tokenizer, dialects_template, TALK[:-1])
    bos = tokenizer.bos_token_id
    return sum(abs(ids.count(bos) - 1) + (ids[0] != bos) for ids in (row.ids, prompt))
