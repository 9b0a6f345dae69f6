"""The template in the model's own tokenizer: to train on, or to compare with the engine's."""

import difflib
from dataclasses import replace
from typing import Any

from trl import chat_template_utils

from engine.data.conversation import Turn
from engine.data.rendering import Template, messages
from engine.data.template import marked, template
from engine.gemma.shapes import Dialect
from engine.problems import Refusal

PROBE = (
    Turn("system", "Be brief."),
    Turn("user", "Name a fruit."),
    Turn("assistant", "A pear."),
    Turn("user", "Another?"),
    Turn("assistant", "A fig."),
)
"""A talk that shows how a template writes each kind of turn."""
_MARK = "{%- generation -%}", "{% generation %}"


def choose(wanted: str, tokenizer: Any, dialect: Dialect) -> Template:
    """The recipe's data.template: the engine's, or the model's own. Raises `Refusal`."""
    engine = template(dialect)
    if wanted == "engine":
        return engine
    text = _own(tokenizer)
    if not text:
        raise _unusable("the model's tokenizer has no chat template")
    if not any(mark in text for mark in _MARK):
        text = _marked(text, dialect)
    return Template(dialect, text, engine.turn_start, engine.turn_end)


def inference(tokenizer: Any, chosen: Template) -> Template:
    """What writes the prompt at inference: the model's own template, else the one trained on."""
    return replace(chosen, text=_own(tokenizer) or chosen.text)


def difference(tokenizer: Any, chosen: Template) -> str:
    """How the model's own template writes a probe otherwise than `chosen`; empty where it doesn't.

    A unified diff, `-` for the model's own lines.
    """
    own = _own(tokenizer)
    if not own:
        return ""
    left, right = (_written(tokenizer, text).splitlines() for text in (own, chosen.text))
    return "\n".join(difflib.unified_diff(left, right, "own", "trained on", lineterm="", n=1))


def _own(tokenizer: Any) -> str:
    text = tokenizer.chat_template
    return str(text["default"] if isinstance(text, dict) else text or "")


def _written(tokenizer: Any, text: str) -> str:
    try:
        chat = messages(PROBE)
        return str(tokenizer.apply_chat_template(chat, chat_template=text, tokenize=False))
    except Exception as error:
        # A template is the model's code: whatever it raises is what there is to be shown.
        return f"it can't be rendered: {error}"


def _marked(text: str, dialect: Dialect) -> str:
    if dialect == Dialect.GEMMA3 and text == chat_template_utils.gemma3_chat_template:
        return str(chat_template_utils.gemma3_training_chat_template)
    try:
        return marked(text)
    except RuntimeError:
        reason = "the model's own template doesn't mark the assistant's words, and can't be patched"
        raise _unusable(reason) from None


def _unusable(reason: str) -> Refusal:
    return Refusal.of("data.template", reason, 'Set data.template to "engine"')
