"""A configuration of another trainer as plain settings, and which trainer it is of.

YAML and JSON are parsed; of a Python script what is written out in its calls is read, and nothing
of it is run.
"""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine import guarded
from engine.problems import Refusal
from engine.recipe import files

AXOLOTL, LLAMA_FACTORY, TRL, UNSLOTH = "Axolotl", "LLaMA-Factory", "TRL", "Unsloth"
_SIGNS = {
    AXOLOTL: {"base_model", "micro_batch_size", "sequence_len", "lora_target_linear"},
    LLAMA_FACTORY: {"finetuning_type", "stage", "cutoff_len", "dataset_dir", "lora_target"},
    UNSLOTH: {"random_state", "use_gradient_checkpointing", "max_seq_length", "model_name"},
    TRL: {"model_name_or_path", "dataset_name", "use_peft", "lora_r"},
}
"""Keys that the others don't have, the surest first."""
_CALLS = {
    "from_pretrained", "get_peft_model", "SFTTrainer", "SFTConfig", "TrainingArguments",
    "UnslothTrainingArguments", "UnslothTrainer", "LoraConfig",
}  # fmt: skip
"""Whose arguments are settings."""


_SHOWN_CHARS = 80
_MOST_VALUES = 10_000


class Computed(str):
    """An expression of a script, whose value only its run would show."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says."""

    path: Path
    trainer: str
    settings: Mapping[str, Any]


def read(path: Path) -> Configuration:
    """Read a file. Raises `Refusal` where it is none of these trainers'."""
    try:
        text = guarded.contents(path, files.MAX_BYTES).decode("utf-8")
        settings = _of_script(text) if path.suffix == ".py" else _of_text(text)
    except (OSError, guarded.Unreadable) as error:
        fix = "Give a file that can be read"
        raise Refusal.of(str(path), guarded.reason(error), fix) from None
    except (ValueError, SyntaxError, RecursionError, yaml.YAMLError) as error:
        reason = f"it is neither YAML nor a script: {' '.join(str(error).split())[:200]}"
        raise Refusal.of(str(path), reason, "Mend the line it names") from None
    keys = set(settings)
    by_signs = next((trainer for trainer, signs in _SIGNS.items() if signs & keys), "")
    trainer = UNSLOTH if by_signs and path.suffix == ".py" else by_signs
    if not trainer:
        reason = f"it has no key of {', '.join(_SIGNS)}"
        raise Refusal.of(str(path), reason, "Give what one of them is started with")
    return Configuration(path, trainer, settings)


def _of_text(text: str) -> dict[str, Any]:
    document = yaml.safe_load(text)
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ValueError("it holds no keys with values")
    _require_small(document)
    return document


def _require_small(document: Any) -> None:
    """YAML's aliases can make a few lines stand for more than any memory holds."""
    rest, count = [document], 0
    while rest:
        value, count = rest.pop(), count + 1
        if count > _MOST_VALUES:
            raise ValueError(f"it holds more than {_MOST_VALUES:,} values")
        rest += value.values() if isinstance(value, dict) else value if _is_list(value) else ()


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | set)


def _of_script(text: str) -> dict[str, Any]:
    """Arguments by name; a name that is given one plain value in the script stands for it."""
    tree = ast.parse(text)
    constants = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    settings: dict[str, Any] = {}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = _name(call)
        if name == "load_dataset":
            settings.setdefault("datasets", []).append(_dataset(call, constants))
        elif name == "train_on_responses_only":
            settings[name] = True
        elif name in _CALLS:
            if name == "from_pretrained" and call.args:
                settings.setdefault("model_name", _value(call.args[0], constants))
            for keyword in call.keywords:
                if keyword.arg and _is_no_config(keyword.value):
                    settings.setdefault(keyword.arg, _value(keyword.value, constants))
    return settings


def _dataset(call: ast.Call, constants: Mapping[str, ast.expr]) -> dict[str, Any]:
    named = {word.arg: _value(word.value, constants) for word in call.keywords if word.arg}
    places = zip(("path", "name"), call.args, strict=False)
    return {**{name: _value(value, constants) for name, value in places}, **named}


def _is_no_config(node: ast.expr) -> bool:
    """Whether it isn't itself a call whose arguments are settings."""
    return not isinstance(node, ast.Call) or _name(node) not in _CALLS


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _value(node: ast.expr, constants: Mapping[str, ast.expr]) -> Any:
    """A plain value; what is computed is told as it is written, in a `Computed`."""
    if isinstance(node, ast.Name) and node.id in constants:
        node = constants[node.id]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError):
        return Computed(ast.unparse(node))


def shown(value: Any) -> str:
    """A value on one line, shortened."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):
        text = str(type(value).__name__)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
