"""Chat templates with the assistant's words marked: one per dialect, or the model's own.

Gemma 3's comes from TRL as it is. TRL has no training template for Gemma 4, so its inference
template is patched in memory: the assistant's thought, tool calls, words and terminator stand in
generation blocks, and large models (12B, 26B-A4B, 31B) get the empty thought block with which their
prompts end at inference, so that the prompt is a prefix of the training text.
"""

import difflib
from dataclasses import replace
from functools import cache

from trl import chat_template_utils

from engine.data.conversation import Conversation, Turn
from engine.data.encoding.rendering import Template, messages
from engine.data.encoding.tokenizer import Tokenizer
from engine.data.encoding.tokens import Encoder
from engine.gemma.shapes import Dialect
from engine.problems import Refusal

_OPEN, _CLOSE = "{%- generation -%}", "{%- endgeneration -%}"
_EMPTY_THOUGHT = "{{- '<|channel>thought\\n<channel|>' -}}"
PROBE = (
    Turn("system", "Be brief."),
    Turn("user", "Name a fruit."),
    Turn("assistant", "A pear."),
    Turn("user", "Another?"),
    Turn("assistant", "A fig."),
)
"""A talk that shows how a template writes each kind of turn."""
_MARKS = _OPEN, "{% generation %}"


@cache
def template(dialect: Dialect | str) -> Template:
    """The training template of a dialect. Raises `ValueError` for one that there is not."""
    dialect = Dialect(dialect)
    if dialect == Dialect.GEMMA3:
        text = chat_template_utils.gemma3_training_chat_template
        return Template(dialect, text, "<start_of_turn>", "<end_of_turn>")
    text = marked(chat_template_utils.gemma4_v5_chat_template)
    if dialect == Dialect.GEMMA4_LARGE:
        text = _with_empty_thought(text)
    return Template(dialect, text, "<|turn>", "<turn|>")


def prompt_ids(tokenizer: Tokenizer, train_template: Template, turns: Conversation) -> list[int]:
    """Token ids that the model sees at inference before it answers."""
    return Encoder(tokenizer, train_template).prompt(turns)


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise RuntimeError(f"TRL's Gemma 4 template has changed: {old!r} is not there once")
    return text.replace(old, new)


def marked(text: str) -> str:
    """Gemma 4's template with generation blocks; words and terminator share one block.

    In separate blocks the last bytes of a character without a token of its own would fall out of
    the mask.
    """
    thought = "{{- '<|channel>thought\\n' + thinking_text + '\\n<channel|>' -}}"
    text = _replaced(text, thought, _OPEN + thought + _CLOSE)
    call = "{{- '<|tool_call>call:' + function['name'] + '{' -}}"
    text = _replaced(text, call, _OPEN + call)
    end_of_call = "{{- '}<tool_call|>' -}}"
    text = _replaced(text, end_of_call, end_of_call + _CLOSE)
    text = _replaced(text, "            {{- captured_content -}}\n", "")
    ending = (
        "        {%- if ns.prev_message_type == 'tool_call' and not ns_tr_out.flag -%}\n"
        "            {{- '<|tool_response>' -}}\n"
        "        {%- elif continues_into_next -%}\n"
        "        {%- elif not (ns_tr_out.flag and not has_content and not next_nt.found) -%}\n"
        "            {{- '<turn|>\\n' -}}\n"
        "        {%- endif -%}\n"
    )
    said = "{{- captured_content -}}{{- ending -}}"
    written = (
        "{%- if role == 'model' -%}"
        + _OPEN
        + said
        + _CLOSE
        + "{%- else -%}"
        + said
        + "{%- endif -%}"
    )
    return _replaced(text, ending, "{%- set ending -%}\n" + ending + "{%- endset -%}\n" + written)


def _with_empty_thought(text: str) -> str:
    """The large models' variant: an empty thought wherever none was asked for or given."""
    prompt = (
        "        {{- '<|turn>model\\n' -}}\n"
        "    {%- elif ns.prev_message_type == 'tool_response' and enable_thinking -%}"
    )
    head, rest = prompt.split("\n", 1)
    unasked = "{%- if not enable_thinking -%}" + _EMPTY_THOUGHT + "{%- endif -%}"
    text = _replaced(text, prompt, f"{head}\n{unasked}\n{rest}")
    turn = "{{- '<|turn>' + role + '\\n' }}\n    {%- endif -%}\n"
    ungiven = (
        "{%- if role == 'model' and not continue_same_model_turn and not enable_thinking "
        "and not (message.get('reasoning') or message.get('reasoning_content')) -%}"
    )
    return _replaced(text, turn, turn + ungiven + _EMPTY_THOUGHT + "{%- endif -%}\n")


def choose(origin: str, tokenizer: Tokenizer, dialect: Dialect) -> Template:
    """The recipe's data.template: the engine's, or the model's own. Raises `Refusal`."""
    engine = template(dialect)
    if origin == "engine":
        return engine
    text = _own(tokenizer)
    if not text:
        raise _unusable("the model's tokenizer has no chat template")
    if not any(mark in text for mark in _MARKS):
        text = _own_marked(text, dialect)
    return Template(dialect, text, engine.turn_start, engine.turn_end)


def inference(tokenizer: Tokenizer, train_template: Template) -> Template:
    """What writes the prompt at inference: the model's own template, else the one trained on."""
    return replace(train_template, text=_own(tokenizer) or train_template.text)


def difference(tokenizer: Tokenizer, train_template: Template) -> str:
    """How the model's own template writes a probe otherwise than this one; empty where it doesn't.

    A unified diff, `-` for the model's own lines.
    """
    own = _own(tokenizer)
    if not own:
        return ""
    left, right = (_written(tokenizer, text).splitlines() for text in (own, train_template.text))
    return "\n".join(difflib.unified_diff(left, right, "own", "trained on", lineterm="", n=1))


def _own(tokenizer: Tokenizer) -> str:
    text = tokenizer.chat_template
    return str(text["default"] if isinstance(text, dict) else text or "")


def _written(tokenizer: Tokenizer, text: str) -> str:
    try:
        chat = messages(PROBE)
        return str(tokenizer.apply_chat_template(chat, chat_template=text, tokenize=False))
    except Exception as error:
        # A template is the model's code: whatever it raises is what there is to be shown.
        return f"it can't be rendered: {error}"


def _own_marked(text: str, dialect: Dialect) -> str:
    if dialect == Dialect.GEMMA3 and text == chat_template_utils.gemma3_chat_template:
        return str(chat_template_utils.gemma3_training_chat_template)
    try:
        return marked(text)
    except RuntimeError:
        reason = "the model's own template doesn't mark the assistant's words, and can't be patched"
        raise _unusable(reason) from None


def _unusable(reason: str) -> Refusal:
    return Refusal.of("data.template", reason, 'Set data.template to "engine"')
