"""The model's own template can be trained on, and its difference from the engine's is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from trl import chat_template_utils

from engine.data.own_template import PROBE, choose, difference
from engine.data.template import template
from engine.data.tokens import tokenize
from engine.problems import Refusal


@pytest.fixture
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


def test_trls_templates_make_no_difference(tokenizer: Any) -> None:
    assert difference(tokenizer, template("gemma4")) == ""
    tokenizer.chat_template = chat_template_utils.gemma3_chat_template
    assert difference(tokenizer, template("gemma3")) == ""


def test_another_templates_difference_is_shown_by_line(tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("<|turn>", "<|turn>the ")
    shown = difference(tokenizer, template("gemma4")).splitlines()
    assert "-<bos><|turn>the system" in shown
    assert "+<bos><|turn>system" in shown


def test_a_template_that_fails_is_shown_as_that(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('not today') }}"
    assert "-it can't be rendered: not today" in difference(tokenizer, template("gemma4"))


@pytest.mark.parametrize("dialect", ["gemma3", "gemma4"])
def test_the_models_own_is_marked_where_it_is_known(dialect: str, tokenizer: Any) -> None:
    if dialect == "gemma3":
        tokenizer.chat_template = chat_template_utils.gemma3_chat_template
    assert choose("engine", tokenizer, dialect) == template(dialect)
    assert choose("model", tokenizer, dialect).text == template(dialect).text


def test_a_marked_template_of_ones_own_is_taken(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}<|turn>{{ m['role'] }}:\n"
        "{% generation %}{{ m['content'] }}<turn|>{% endgeneration %}{% endfor %}"
    )
    (row,) = tokenize(tokenizer, choose("model", tokenizer, "gemma4"), [PROBE[1:3]], "last", 99)
    assert tokenizer.decode([label for label in row.labels if label >= 0]) == "A pear.<turn|>"
    assert tokenizer.decode(row.ids).startswith("<bos><|turn>user:\nName a fruit.<turn|><|turn>")


@pytest.mark.parametrize(
    ("own", "reason"), [("", "no chat template"), ("{{ x }}", "can't be patched")]
)
def test_a_template_that_can_not_be_trained_on_is_refused(
    own: str, reason: str, tokenizer: Any
) -> None:
    tokenizer.chat_template = own
    with pytest.raises(Refusal, match=reason):
        choose("model", tokenizer, "gemma4")
