"""Tokenizer and chat template of an export: the base's own, or the one that was trained on."""

import json
import re
from collections.abc import Callable
from typing import Any

from engine.data.encoding.rendering import Template
from engine.data.encoding.template import choose
from engine.data.encoding.tokenizer import tokenizer_and_config
from engine.export.base_files import portable
from engine.export.export import Export
from engine.export.staging import Staging
from engine.gemma.config import dialect_of

TEMPLATE = "chat_template.jinja"
_GENERATION_CONFIG = "generation_config.json"
_TOKENIZER = ("tokenizer", "special_tokens_map", "added_tokens")
_SETTINGS_BYTES = 1 << 20
"""Larger files of JSON are vocabularies and indices."""
_OPEN = re.compile(r"\{%(-?)\s*generation\s*(-?)%\}")
_CLOSE = re.compile(r"\{%(-?)\s*endgeneration\s*(-?)%\}")


def for_inference(template: str) -> str:
    """A training template without its marks, which only transformers knows.

    What stands in their place strips the same blanks.
    """
    opened = _OPEN.sub(r"{%\1 if true \2%}", template)
    return _CLOSE.sub(r"{%\1 endif \2%}", opened)


def trained_template(export: Export) -> tuple[Template, Any]:
    """What the run's rows were written by, and the tokenizer. Raises `Refusal`."""
    tokenizer, config = tokenizer_and_config(export.recipe.model)
    dialect = dialect_of(config.to_dict())
    return choose(export.recipe.data.template, tokenizer, dialect), tokenizer


def write_beside_adapter(export: Export, staging: Staging) -> bool:
    """Write both beside an adapter whose base can't chat by itself; whether that is so."""
    template, tokenizer = trained_template(export)
    if tokenizer.chat_template:
        return False
    write_base(export, staging, lambda name: name.startswith(_TOKENIZER))
    staging.write(TEMPLATE, for_inference(template.text).encode())
    return True


def write_beside_weights(export: Export, staging: Staging) -> bool:
    """Write the base's files beside merged weights, made to chat; whether they had to be."""
    template, tokenizer = trained_template(export)
    turn_end = tokenizer.convert_tokens_to_ids(template.turn_end)
    write_base(export, staging, lambda name: name != _GENERATION_CONFIG)
    file = export.base.folder / _GENERATION_CONFIG
    settings = json.loads(file.read_bytes()) if file.is_file() else {}
    staging.write(_GENERATION_CONFIG, _as_json(_ending_turns(settings, tokenizer, turn_end)))
    if tokenizer.chat_template:
        return False
    staging.write(TEMPLATE, for_inference(template.text).encode())
    return True


def write_base(
    export: Export, staging: Staging, is_wanted: Callable[[str], bool], below: str = ""
) -> None:
    """Copy files of the base; what they tell of where they lay is left out."""
    for name, path in export.base.beside():
        if not is_wanted(name):
            continue
        if path.suffix == ".json" and path.stat().st_size < _SETTINGS_BYTES:
            document = json.loads(path.read_bytes())
            if isinstance(document, dict) and (portable_document := portable(document)) != document:
                staging.write(below + name, _as_json(portable_document))
                continue
        staging.copy(path, below + name)


def _ending_turns(settings: dict[str, Any], tokenizer: Any, turn_end: int) -> dict[str, Any]:
    """Let generation end at the end of a turn; models that were only pretrained don't know it."""
    eos = settings.get("eos_token_id", tokenizer.eos_token_id)
    ends = [eos] if isinstance(eos, int) else list(eos or ())
    if turn_end not in ends:
        settings = {**settings, "eos_token_id": [*ends, turn_end]}
    return portable(settings)


def _as_json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
