"""The model's own template can be trained on, and its difference from the engine's is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from trl import chat_template_utils

from engine.data.encoding.template import PROBE, choose, difference, template
from engine.data.encoding.tokens import tokenize
from engine.gemma import catalog
from engine.gemma.shapes import Dialect
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


@pytest.mark.parametrize("dialect", [Dialect.GEMMA3, Dialect.GEMMA4])
def test_the_models_own_is_marked_where_it_is_known(dialect: Dialect, tokenizer: Any) -> None:
    if dialect == Dialect.GEMMA3:
        tokenizer.chat_template = chat_template_utils.gemma3_chat_template
    assert choose("engine", tokenizer, dialect) == template(dialect)
    assert choose("model", tokenizer, dialect).text == template(dialect).text


def test_a_marked_template_of_ones_own_is_taken(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}<|turn>{{ m['role'] }}:\n"
        "{% generation %}{{ m['content'] }}<turn|>{% endgeneration %}{% endfor %}"
    )
    (row,) = tokenize(
        tokenizer, choose("model", tokenizer, Dialect.GEMMA4), [PROBE[1:3]], "last", 99
    )
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
        choose("model", tokenizer, Dialect.GEMMA4)


GEMMA3, GEMMA4, GEMMA4_LARGE = "959b257e7fc1603f", "6eb59b82a38f9e1c", "077dcfbf025a1d70"
"""Hashes of the training templates: TRL's for Gemma 3, and Gemma 4's without and with the empty
thought."""
OWN = {3: chat_template_utils.gemma3_chat_template, 4: chat_template_utils.gemma4_v5_chat_template}
"""Templates as the models' tokenizers hold them."""


@pytest.mark.parametrize(
    ("model", "engine", "own"),
    [
        ("google/gemma-3-270m-it", GEMMA3, GEMMA3),
        ("google/gemma-3-1b-it", GEMMA3, GEMMA3),
        ("google/gemma-3-4b-it", GEMMA3, GEMMA3),
        ("google/gemma-3-12b-it", GEMMA3, GEMMA3),
        ("google/gemma-3-27b-it", GEMMA3, GEMMA3),
        ("embedded", GEMMA4, GEMMA4),
        ("google/gemma-4-E2B-it", GEMMA4, GEMMA4),
        ("google/gemma-4-E4B-it", GEMMA4, GEMMA4),
        ("google/gemma-4-12B-it", GEMMA4_LARGE, GEMMA4),
        ("google/gemma-4-26B-A4B-it", GEMMA4_LARGE, GEMMA4),
        ("google/gemma-4-31B-it", GEMMA4_LARGE, GEMMA4),
    ],
)
def test_which_template_a_model_is_trained_with(
    model: str, engine: str, own: str, tokenizer: Any
) -> None:
    shape = catalog.variant_of(model)
    tokenizer.chat_template = OWN[shape.generation]
    chosen = {wanted: choose(wanted, tokenizer, shape.dialect) for wanted in ("engine", "model")}
    assert {wanted: each.hash for wanted, each in chosen.items()} == {
        "engine": engine,
        "model": own,
    }
    assert all(each.dialect == shape.dialect for each in chosen.values())
