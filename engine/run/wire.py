"""Messages between viewers and engines as JSON, read strictly: what does not fit raises.

By way of plain values and `json`, which escapes lone surrogates; msgspec's own writer refuses them,
and rows and prompts may hold some.
"""

import json
from typing import Any

import msgspec

from engine.guarded import Json


def plain(message: object) -> Any:
    """The message as dicts, lists, texts and numbers."""
    return msgspec.to_builtins(message, enc_hook=_dump)


def line(message: object) -> bytes:
    """The message as a line of JSON."""
    return json.dumps(plain(message)).encode() + b"\n"


def read(record: Json, kind: Any) -> Any:
    """The message of that kind in plain values. Raises `ValueError` where they hold none."""
    return msgspec.convert(record, kind, dec_hook=_load)


def read_line(text: bytes, kind: Any) -> Any:
    """The message of that kind on a line, or None where it holds none."""
    try:
        return read(json.loads(text), kind)
    except (ValueError, RecursionError):
        return None


def _dump(model: Any) -> Any:
    """A recipe, which pydantic reads and writes; pydantic itself is not imported for it."""
    return model.model_dump(mode="json")


def _load(kind: Any, record: Json) -> Any:
    return kind.model_validate_json(json.dumps(record))
