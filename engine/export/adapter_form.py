"""An adapter in PEFT's layout that names its base as others know it, and no path of here."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save

from engine import guarded
from engine.export import base_files, chat_files
from engine.export.export import Export
from engine.export.lora_updates import within_decoder
from engine.export.staging import Staging, staged
from engine.gemma import catalog
from engine.gemma.shapes import EMBEDDED
from engine.model.adapter_switch import read_config
from engine.problems import Refusal
from engine.run.adapters import CONFIG, WEIGHTS

_TEXT_ONLY, _WITH_TOWERS = "base_model.model.model.", "base_model.model.model.language_model."
"""What names of adapters begin with in transformers' two kinds of classes. vLLM maps both onto its
own (`hf_to_vllm_mapper` of gemma4_mm.py, gemma4.py and gemma3_mm.py), and drops the names that its
model has no module for without a word."""
_EXPERTS = re.compile(r".*\.experts\..*")


def write(export: Export) -> dict[str, Any]:
    """Write the folder; what its manifest says. Raises `Refusal`, and `OSError`."""
    read_config(export.adapter, export.recipe.model)
    config = guarded.json_document(export.adapter.path / CONFIG)
    is_bundled = export.base.name == EMBEDDED
    if not export.base.name:
        raise _nameless(export)
    config["base_model_name_or_path"] = base_files.BUNDLED if is_bundled else export.base.name
    config["revision"] = None if is_bundled else export.base.revision
    weights = export.adapter.path / WEIGHTS
    size = weights.stat().st_size
    size += sum(path.stat().st_size for path in export.base.weights) if is_bundled else 0
    with staged(export.folder, size) as staging:
        export.tell("writing", WEIGHTS)
        names = _write_weights(export, weights, staging)
        staging.write(CONFIG, json.dumps(config, indent=2).encode() + b"\n")
        has_chat = chat_files.write_beside_adapter(export, staging)
        if is_bundled:
            _write_base(export, staging)
        facts = {
            **export.facts(),
            "modules": len({within_decoder(name.partition(".lora_")[0]) for name in names}),
            "tokenizer": "with the template trained on" if has_chat else "the base's own",
            "remarks": list(_limits(config, names)),
        }
        staging.sign(facts)
    return facts


def _nameless(export: Export) -> Refusal:
    where = export.base.folder if Path(export.recipe.model.path).is_dir() else "a GGUF file"
    reason = f"its base is {where}, which nobody else has under that name"
    fix = "Say what it is on the hub: --base google/gemma-3-270m, or export it as merged"
    return Refusal.of(str(export.run.path), reason, fix, key="base")


def _write_base(export: Export, staging: Staging) -> None:
    """The embedded model lies on no hub, so it goes with the adapter."""
    below = base_files.BUNDLED.removeprefix("./") + "/"
    chat_files.write_base(export, staging, lambda _: True, below)
    for path in export.base.weights:
        staging.copy(path, below + path.name)


def _write_weights(export: Export, weights: Path, staging: Staging) -> list[str]:
    """Write the tensors, byte for byte where they already have the names that the base asks for."""
    with safe_open(weights, "pt") as file:
        names = list(file.keys())
    prefix = _WITH_TOWERS if _has_towers(export) else _TEXT_ONLY
    renamed = {name: f"{prefix}{within_decoder(name)}" for name in names}
    if all(name == new for name, new in renamed.items()):
        staging.copy(weights, WEIGHTS)
    else:
        tensors = {renamed[name]: tensor for name, tensor in load_file(weights).items()}
        staging.write(WEIGHTS, save(tensors, {"format": "pt"}))
    return names


def _has_towers(export: Export) -> bool:
    """Whether the base, as others load it, is of the class with towers."""
    variant = catalog.name_of(export.base.name)
    config = guarded.json_document(export.base.folder / "config.json")
    if variant and "/" in export.base.name:
        config = catalog.config_of(variant)
    return "text_config" in config


def _limits(config: dict[str, Any], names: Iterable[str]) -> Iterable[str]:
    """What others can't do with it, as far as anybody knows."""
    if config.get("use_dora"):
        yield "vLLM and llama.cpp read no DoRA: for them, export it as merged"
    if any(map(_EXPERTS.fullmatch, names)):
        yield "vLLM and llama.cpp read no adapters of experts: for them, export it as merged"
