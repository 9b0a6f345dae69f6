"""Records prepared as a recipe would, and what of them carries loss."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.data.encoding.template import template
from engine.data.prepare import Prepared, prepare
from engine.recipe.schema import Data, Source

FRUIT = [
    {"role": "user", "content": "Name a fruit."},
    {"role": "assistant", "content": "A quince."},
]


def prepared(
    path: Path, tokenizer: Any, records: Iterable[object], dialect: str = "gemma4", **options: Any
) -> Prepared:
    """Rows of a file that is written here; `options` are keys of the source, and of the data."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    source = {key: options.pop(key) for key in ("format", "columns", "split") if key in options}
    data = Data(sources=(Source(path=str(path), **source),), **options)
    return prepare(data, tokenizer, template(dialect))


def text(prepared: Prepared, tokenizer: Any, index: int = 0) -> str:
    """The whole of a row."""
    return str(tokenizer.decode(prepared.rows[index].ids))


def supervised(prepared: Prepared, tokenizer: Any, index: int = 0) -> str:
    """The words of a row that carry loss."""
    return str(tokenizer.decode([label for label in prepared.rows[index].labels if label >= 0]))


def talk(*more: dict[str, Any]) -> dict[str, Any]:
    """Two exchanges, whose messages are changed by place."""
    said = [
        {"role": "user", "content": "Say hello."},
        {"role": "assistant", "content": "Go away."},
        {"role": "user", "content": "Politely."},
        {"role": "assistant", "content": "Good day."},
    ]
    return {"messages": [{**one, **extra} for one, extra in zip(said, more, strict=True)]}
