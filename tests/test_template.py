"""Templates write what the model sees at inference, and mark what the assistant says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from trl import chat_template_utils

from engine.data.conversation import Conversation, Turn
from engine.data.encoding.rendering import messages
from engine.data.encoding.template import prompt_ids, template
from engine.data.encoding.tokens import IGNORED, tokenize
from engine.gemma.config import dialect_of
from tests import tiny

DIALECTS = ("gemma3", "gemma4", "gemma4-large")
TALK: Conversation = (
    Turn("system", "Be brief."),
    Turn("user", "Name a fruit."),
    Turn("assistant", "A pear."),
    Turn("user", "Another?"),
    Turn("assistant", "A fig 🌰"),
)
EXPECTED = {
    "gemma3": (
        "<bos><start_of_turn>user\nBe brief.\n\nName a fruit.<end_of_turn>\n"
        "<start_of_turn>model\nA pear.<end_of_turn>\n"
        "<start_of_turn>user\nAnother?<end_of_turn>\n<start_of_turn>model\nA fig 🌰<end_of_turn>\n"
    ),
    "gemma4": (
        "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nName a fruit.<turn|>\n"
        "<|turn>model\nA pear.<turn|>\n<|turn>user\nAnother?<turn|>\n"
        "<|turn>model\nA fig 🌰<turn|>\n"
    ),
    "gemma4-large": (
        "<bos><|turn>system\nBe brief.<turn|>\n<|turn>user\nName a fruit.<turn|>\n"
        "<|turn>model\n<|channel>thought\n<channel|>A pear.<turn|>\n"
        "<|turn>user\nAnother?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>A fig 🌰<turn|>\n"
    ),
}


@pytest.fixture(scope="module")
def tokenizers(gemma_folder: Callable[[str], Path]) -> dict[str, Any]:
    gemma4 = AutoTokenizer.from_pretrained(gemma_folder("embedded"))
    gemma3 = AutoTokenizer.from_pretrained(gemma_folder("gemma3"))
    return {"gemma3": gemma3, "gemma4": gemma4, "gemma4-large": gemma4}


def said(tokenizer: Any, labels: list[int]) -> str:
    text: str = tokenizer.decode([label for label in labels if label != IGNORED])
    return text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_talk_is_written_as_the_model_knows_it(dialect: str, tokenizers: dict[str, Any]) -> None:
    written = tokenizers[dialect].apply_chat_template(
        messages(TALK), chat_template=template(dialect).text, tokenize=False
    )
    assert written == EXPECTED[dialect]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_answer_and_its_terminator_carry_loss_to_the_last_byte(
    dialect: str, tokenizers: dict[str, Any]
) -> None:
    chosen = template(dialect)
    (row,) = tokenize(tokenizers[dialect], chosen, [TALK], "assistant", 512)
    end = chosen.turn_end
    assert said(tokenizers[dialect], row.labels) == f"A pear.{end}\nA fig 🌰{end}\n"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_inference_prompt_is_a_prefix_of_what_was_trained(
    dialect: str, tokenizers: dict[str, Any]
) -> None:
    chosen, tokenizer = template(dialect), tokenizers[dialect]
    (row,) = tokenize(tokenizer, chosen, [TALK], "last", 512)
    prompt = prompt_ids(tokenizer, chosen, TALK[:-1])
    assert row.ids[: len(prompt)] == prompt
    first = next(i for i, label in enumerate(row.labels) if label != IGNORED)
    assert first == len(prompt)


def test_gemma_4_is_written_as_trl_writes_it(tokenizers: dict[str, Any]) -> None:
    talk = messages(TALK)
    theirs = chat_template_utils.gemma4_v5_chat_template
    for extra in ({}, {"add_generation_prompt": True}, {"enable_thinking": True}):
        assert tokenizers["gemma4"].apply_chat_template(
            talk, chat_template=template("gemma4").text, tokenize=False, **extra
        ) == tokenizers["gemma4"].apply_chat_template(
            talk, chat_template=theirs, tokenize=False, **extra
        )


@pytest.mark.parametrize(
    ("kind", "dialect"),
    [
        ("embedded", "gemma4"),
        ("gemma3", "gemma3"),
        ("gemma4_moe", "gemma4-large"),
        ("gemma4_multimodal", "gemma4"),
    ],
)
def test_the_dialect_follows_from_the_model(
    kind: str, dialect: str, gemma_folder: Callable[[str], Path]
) -> None:
    assert dialect_of(tiny.loaded(gemma_folder(kind)).model.config.to_dict()) == dialect


@pytest.mark.parametrize("dialect", ["nonsense", "gemma4_large", "", "Gemma3"])
def test_an_unknown_dialect_has_no_template(dialect: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Dialect"):
        template(dialect)


def test_the_hash_tells_templates_apart() -> None:
    assert len({template(dialect).hash for dialect in DIALECTS}) == len(DIALECTS)


def test_the_first_token_is_the_only_bos(tokenizers: dict[str, Any]) -> None:
    for dialect in DIALECTS:
        (row,) = tokenize(tokenizers[dialect], template(dialect), [TALK], "all", 512)
        assert row.ids.count(tokenizers[dialect].bos_token_id) == 1
        assert row.labels == [IGNORED, *row.ids[1:]]
