"""What columns beside a format's own mean: thoughts, passages, judgements, or nothing for training.

A row's key that is neither read, nor refused here, nor harmless is noted by its name.
"""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from engine.data.conversation import UnusableRow
from engine.data.formats.form import Record, words
from engine.guarded import Json

THOUGHTS = (
    "reasoning_content", "reasoning", "thinking", "thought", "analysis", "reasoning_details", "cot",
    "chain_of_thought", "rationale", "Complex_CoT",
)  # fmt: skip
"""Keys under which published sets keep what was thought before an answer."""
PASSAGES = ("context", "passage", "document", "contexts", "passages", "documents")
"""Columns with a text that the question is about."""
LOSS_WEIGHTS = ("weight", "loss", "loss_weight", "training", "train")
"""Keys of a message that say whether it carries loss, or how much of it."""
ROW_WEIGHTS = ("weight", "loss_weight", "sample_weight")
"""Columns that say how much the loss of all that a row answers counts."""
_JUDGEMENTS = (
    "label", "kto_tag", "rating", "feedback", "desirable", "is_desirable", "correct", "is_correct",
    "is_good", "accepted", "is_accepted", "preferred", "is_preferred",
)  # fmt: skip
_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "desirable", "good", "chosen", "accepted"), True),
    **dict.fromkeys(("false", "0", "no", "undesirable", "bad", "rejected"), False),
}
_UNHEARD = {"audio": "audio", "audios": "audio", "video": "video", "videos": "video"}
_HARMLESS = {
    "id", "idx", "index", "uuid", "_id", "row_id", "prompt_id", "message_id", "conversation_id",
    "conversation_hash", "source", "dataset", "origin", "url", "lang", "language", "locale",
    "category", "categories", "topic", "subject", "domain", "task", "type", "tags", "meta",
    "metadata", "info", "license", "author", "model", "generator", "created", "created_at", "date",
    "timestamp", "time", "version", "split", "hash", "token_count", "num_tokens", "difficulty",
    "level", "fact", "__index_level_0__", "refusal", "annotations", "finish_reason", "turn",
    "parallel_tool_calls", "custom_id",
}  # fmt: skip
MESSAGE = "a message's "
"""What names of keys of messages begin with."""
HARMLESS = frozenset({*_HARMLESS, *(f"{MESSAGE}{name}" for name in _HARMLESS)})
"""Keys that describe a row or a message and say nothing that is learned; they are counted alone."""
_MOST_NAMES = 16


def is_empty(value: Json) -> bool:
    """Whether a value says nothing."""
    return value is None or value in ("", [], {})


def thought(said: Record) -> str:
    """What was thought before an answer, under any of its names. Raises `UnusableRow` for two."""
    if said.keys().isdisjoint(THOUGHTS):
        return ""
    texts = dict.fromkeys(filter(None, (_thought(said[k]) for k in THOUGHTS if k in said)))
    if len(texts) > 1:
        raise UnusableRow("two different thoughts before one answer")
    return next(iter(texts), "")


def _thought(value: Json) -> str:
    """Text, or OpenRouter's list of parts with a text or a summary each."""
    if is_empty(value):
        return ""
    if isinstance(value, list):
        parts = [part if isinstance(part, dict) else {"text": part} for part in value]
        return "\n".join(words(part.get("text") or part.get("summary")) for part in parts)
    return words(value)


def passages(record: Record, names: tuple[str, ...] = PASSAGES) -> list[str]:
    """The texts that a question is about; of a list each. Raises `UnusableRow` for other shapes."""
    texts: list[str] = []
    for name in names:
        value = record.get(name)
        if is_empty(value):
            continue
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                raise UnusableRow(f"a {name.removesuffix('s')} that is no text")
            texts.append(text.strip())
    return texts


def weight(message: Record) -> float:
    """What a message says that its loss is multiplied by: the least it says, and 1 where nothing.

    Raises `UnusableRow` for what is neither yes, no nor a number from 0 to 1.
    """
    if message.keys().isdisjoint(LOSS_WEIGHTS):
        return 1.0
    return min((_weight(name, message.get(name)) for name in LOSS_WEIGHTS), default=1.0)


def row_weight(record: Record) -> float:
    """What a row says that the loss of all its answers is multiplied by, as `weight` does.

    Weights of examples have no upper bound. Raises `UnusableRow` for what is no weight.
    """
    if record.keys().isdisjoint(ROW_WEIGHTS):
        return 1.0
    said = [(name, record[name]) for name in ROW_WEIGHTS if not is_empty(record.get(name))]
    return min((_row_weight(name, value) for name, value in said), default=1.0)


def _row_weight(name: str, value: Any) -> float:
    flag = verdict(value)
    with suppress(ValueError, TypeError, OverflowError):
        weight = float(value if flag is None else flag)
        if 0 <= weight < math.inf:
            return weight
    raise UnusableRow(no_row_weight(name))


def no_row_weight(name: str) -> str:
    """Why a row is dropped whose column of a weight holds none."""
    return f"a {name} of the row that is no number from 0 on"


def asks_for_loss(message: Record) -> bool:
    """Whether a message says that its words carry loss, be it a part."""
    said = [message[name] for name in LOSS_WEIGHTS if message.get(name) is not None]
    return bool(said) and all(verdict(value) is not False for value in said)


def _weight(name: str, value: Any) -> float:
    flag = True if value is None else verdict(value)
    with suppress(ValueError, TypeError, OverflowError):
        share = float(value if flag is None else flag)
        if 0 <= share <= 1:
            return share
    raise UnusableRow(f"a message's {name} that is no number from 0 to 1")


def verdict(value: Json) -> bool | None:
    """Yes or no, however it is written; None where it is neither."""
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    return None


def judgements(record: Record) -> dict[str, bool]:
    """Columns that judge the row's answer, and whether it is wanted by each."""
    if record.keys().isdisjoint(_JUDGEMENTS):
        return {}
    verdicts = {
        name: False if record.get(name) == -1 else verdict(record.get(name)) for name in _JUDGEMENTS
    }
    return {name: flag for name, flag in verdicts.items() if flag is not None}


def judgement(record: Record) -> tuple[str, bool] | None:
    """The first column that judges the row's answer, and how; None where none does."""
    return next(iter(judgements(record).items()), None)


def refuse_unheard(record: Record) -> None:
    """Raises `UnusableRow` where a row holds what no Gemma of this project is trained on."""
    if record.keys().isdisjoint(_UNHEARD):
        return
    for name, kind in _UNHEARD.items():
        if not is_empty(record.get(name)):
            raise UnusableRow(f"{kind} in column {name}, which is not trained on")


def unread(record: Record, columns: frozenset[str], before: str = "") -> Iterator[str]:
    """Names of a record's columns that say something and are not read, at most the first few."""
    names = [name for name, value in record.items() if name not in columns and not is_empty(value)]
    yield from (f"{before}{name}" for name in names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES:
        yield f"{before}(more than {_MOST_NAMES} others)"


def as_json(value: Json) -> Any:
    """A value that is JSON text, once or twice over, as what it stands for; others as they are."""
    for _ in range(2):
        if not isinstance(value, str) or value.strip()[:1] not in ("{", "[", '"'):
            return value
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
