"""The recipe that a configuration of another trainer comes to, with where each key is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Comment

from engine.gemma.shapes import EMBEDDED
from engine.paths import RECIPE_SCHEMA
from engine.problems import Problem, Refusal
from engine.recipe import dotted, files, schema, toml_document, validate
from workbench.other_trainers import mapping, reading, sources
from workbench.other_trainers.mapping import Row, Settings
from workbench.other_trainers.reading import Configuration
from workbench.recipe_editor import user_recipes
from workbench.text import toml_text
from workbench.text.sanitize import sanitize_line

_ADAMW_LINEAR: dict[str, Any] = {
    "num_train_epochs": 3.0, "per_device_train_batch_size": 8, "lr_scheduler_type": "linear",
    "warmup_steps": 0, "save_steps": 500, "seed": 42,
}  # fmt: skip
"""Of transformers' TrainingArguments, which LLaMA-Factory and TRL take."""
DEFAULTS: dict[str, dict[str, Any]] = {
    reading.AXOLOTL: {
        "adapter": "none", "micro_batch_size": 1, "num_epochs": 1.0, "lr_scheduler": "cosine",
    },
    reading.LLAMA_FACTORY: {
        "lora_rank": 8, "lora_target": "all", "cutoff_len": 2048, "learning_rate": 5e-5,
        **_ADAMW_LINEAR,
    },
    reading.TRL: {
        "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "learning_rate": 2e-5,
        "lora_target_modules": ["q_proj", "v_proj"], "max_length": 1024, "use_peft": False,
        "assistant_only_loss": False, **_ADAMW_LINEAR,
    },
    reading.UNSLOTH: {
        "r": 16, "lora_alpha": 16, "max_seq_length": 2048, "load_in_4bit": True,
        "assistant_only_loss": False,
    },
}  # fmt: skip
"""What they do where a key is left out, and a recipe would do otherwise: axolotl's
utils/schemas/training.py, LLaMA-Factory's hparams/finetuning_args.py and data_args.py,
TRL's ModelConfig and SFTConfig with PEFT's targets for Gemma, Unsloth's get_peft_model and
from_pretrained."""


_SETS = {"assistant_only_loss": {"data.loss_on"}}
"""What a default is about that sets nothing itself."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A recipe, and what became of each key."""

    trainer: str
    text: str
    rows: tuple[Row, ...]


def imported(configuration: Configuration, overrides: Sequence[str]) -> Imported:
    """The recipe of a configuration; overrides, as --set takes them, go before what it says.

    Raises `Refusal` where that is no recipe: no rows are named, or the model is no Gemma.
    """
    rows = _rows(configuration)
    settings: Settings = {}
    for row in rows:
        settings.update(row.settings)
    document: dict[str, Any] = {}
    for key, value in settings.items():
        dotted.put(document, key, value)
    _override(document, overrides)
    rows = _without_problems(configuration, rows, document)
    _require_gemma(configuration, document)
    return Imported(configuration.trainer, _text(configuration, rows, document), tuple(rows))


def _rows(configuration: Configuration) -> list[Row]:
    """Of every key that it has, and of defaults that it leaves standing."""
    own = {key: v for key, v in configuration.settings.items() if key not in sources.KEYS}
    rows = [*mapping.rows(own), *sources.read(configuration)[1]]
    set_keys = {ours for row in rows for ours in row.settings}
    defaults = DEFAULTS[configuration.trainer]
    if configuration.trainer == reading.LLAMA_FACTORY:
        rank = next((r.value for r in rows if "adapter.r" in r.settings), defaults["lora_rank"])
        if isinstance(rank, int):
            defaults = {**defaults, "lora_alpha": 2 * rank}
    return [
        *(
            replace(row, is_default=True)
            for row in mapping.rows(defaults)
            if row.key not in own and not set_keys & {*row.settings, *_SETS.get(row.key, ())}
        ),
        *rows,
    ]


def _override(document: dict[str, Any], overrides: Sequence[str]) -> None:
    try:
        toml_document.override(document, [*overrides])
    except ValueError as error:
        raise Refusal.of("--set", str(error), "Write --set training.learning_rate=2e-4") from None


def _without_problems(
    configuration: Configuration, rows: list[Row], document: dict[str, Any]
) -> list[Row]:
    """The rows, those that set what no recipe takes as lost ones; it is removed from the document.

    Raises `Refusal` for what remains.
    """
    while problems := validate.problems(document, on_paper=True):
        faulty = {dotted.setting(problem.key): problem for problem in problems}
        losing = {key for row in rows for key in row.settings} & faulty.keys() - {"data.sources"}
        if not losing:
            raise _refusal(configuration, problems)
        for key in losing:
            dotted.remove(document, key)
        rows = [_lost(row, faulty, losing) for row in rows]
    return rows


def _lost(row: Row, faulty: Mapping[str, Problem], losing: set[str]) -> Row:
    lost = losing & row.settings.keys()
    if not lost:
        return row
    settings = {key: value for key, value in row.settings.items() if key not in lost}
    return replace(row, settings=settings, reason=faulty[min(lost)].reason, is_lost=not settings)


def _refusal(configuration: Configuration, problems: list[Problem]) -> Refusal:
    where = str(configuration.path)
    if {"data", "data.sources"} & {problem.key for problem in problems}:
        fix = "Give them: --data rows.jsonl"
        return Refusal.of(where, "it names no rows that a recipe could train on", fix)
    return Refusal(where, problems)


def _require_gemma(configuration: Configuration, document: dict[str, Any]) -> None:
    """Raises `Refusal` where it names no model, or another than a Gemma."""
    model, fix = (
        dotted.get(document, "model.path"),
        "Give one: --set model.path=google/gemma-3-1b-it",
    )
    if model is None:
        raise Refusal.of(str(configuration.path), "it names no model that can be told", fix)
    if "gemma" not in model.lower() and model != EMBEDDED and not Path(model).exists():
        reason = f"it trains {model}, and gemma-bench trains Gemma alone"
        raise Refusal.of(str(configuration.path), reason, fix)


def _text(configuration: Configuration, rows: Sequence[Row], document: dict[str, Any]) -> str:
    """Sections and keys in the schema's order, each below the key that it is from."""
    recipe = tomlkit.document()
    recipe.add(_comment(f"As {configuration.path.name} has it, for {configuration.trainer}."))
    for section, model in schema.SECTIONS.items():
        table = document.get(section)
        if not table:
            continue
        written = tomlkit.table()
        for name in (name for name in model.model_fields if name in table):
            for origin in _origins(configuration, rows, f"{section}.{name}"):
                written.add(_comment(origin))
            value = user_recipes.near(name, table[name])
            written.append(name, tomlkit.value(toml_text.of_value(value)))
        recipe.add(tomlkit.nl())
        recipe.append(section, written)
    text = f"{files.SCHEMA_DIRECTIVE}{RECIPE_SCHEMA.as_uri()}\n{recipe.as_string()}"
    lost = [f"# {_line(row)}: {sanitize_line(row.reason)}" for row in rows if row.is_lost]
    return "\n".join([text, "# Not mapped:", *lost, ""]) if lost else text


def _origins(configuration: Configuration, rows: Sequence[Row], key: str) -> list[str]:
    last = [row for row in rows if key in row.settings]
    default = f"{configuration.trainer}'s default"
    return [default if row.is_default else _line(row) for row in last]


def _line(row: Row) -> str:
    return sanitize_line(f"{row.key}: {reading.shown(row.value)}", 120)


def _comment(text: str) -> Comment:
    return tomlkit.comment(sanitize_line(text))
