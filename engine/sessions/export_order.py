"""What a viewer asks of an export's engine: which adapter of which run, in which form, where."""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.problems import Refusal
from engine.run import wire
from engine.run.adapters import Adapter
from engine.run.rundir import RunDir

_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}(@[\w.-]{1,96})?", re.ASCII)
MANIFEST = "export.json"
"""In every export: what it was made of, how it was proved, and a hash of each other file."""


class Form(StrEnum):
    """What an adapter becomes."""

    module: str
    """Below engine.export; holds `write(export)`."""
    summary: str

    def __new__(cls, name: str, module: str, summary: str) -> "Form":
        """A member is its name, as the command line takes it."""
        form = str.__new__(cls, name)
        form._value_ = name
        form.module, form.summary = module, summary
        return form

    ADAPTER = "adapter", "adapter_form", "PEFT's layout, for PEFT and vLLM beside the base"
    GGUF = "gguf", "gguf_form", "one file of the merged model, for llama.cpp and Ollama"
    MERGED = "merged", "merged_form", "one model in the base's own files and number formats"


NUMBER_FORMATS = ("F32", "F16", "BF16", "Q8_0")
"""Of a GGUF file's matrices."""
DEFAULT_FORMAT = "BF16"


class Order(Struct, frozen=True):
    """One export."""

    run: str
    """Its directory."""
    adapter: str
    """Name of the adapter."""
    form: Form
    folder: str
    """The folder to be made; it is there whole or not at all."""
    number_format: str = DEFAULT_FORMAT
    """Of a GGUF file."""
    base: str = ""
    """The base on the hub, as owner/name or owner/name@revision, where the run doesn't tell."""

    def __post_init__(self) -> None:
        if self.base and not _HUB_ID.fullmatch(self.base):
            fix = "Give owner/name, or owner/name@revision"
            raise Refusal.of("--base", f"{self.base!r} is no id of the hub", fix)


def place(run: RunDir, adapter: Adapter, form: Form, kind: str, out: Path | None) -> Path:
    """Where an export will lie. Raises `Refusal` where something is there already."""
    step = "" if adapter.path == run.adapter else f"-{adapter.path.name}"
    kind = f"-{kind}" if form is Form.GGUF else ""
    folder = Path(os.path.abspath(out or run.exports / f"{form}{kind}{step}"))
    if os.path.lexists(folder):
        fix = "Remove it, or give another folder with --out"
        raise Refusal.of(str(folder), "something is there already", fix)
    return folder


def partial(folder: Path) -> Path:
    """Where an export is written until it is whole."""
    return folder.with_name(f".{folder.name}.part")


def request(order: Order) -> dict[str, Any]:
    """What request.json holds of it."""
    return {"name": "export", "export": wire.plain(order)}


def order(request: dict[str, Any]) -> Order:
    """What `request` was made from."""
    placed: Order = wire.read(request["export"], Order)
    return placed
