"""The base of a run: where its files lie here, and what others know it by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import guarded
from engine.data.encoding.tokenizer import folder_or_id
from engine.gemma.gguf import checkpoint, files
from engine.gemma.shapes import EMBEDDED
from engine.model import mapped_tensor
from engine.problems import Refusal
from engine.recipe.schema import Model

BUNDLED = "./base"
"""What an adapter names as its base that goes with it, in a folder beside: no id of the hub begins
so, and in that folder it is a path."""
_SNAPSHOT = re.compile(r"models--([\w.-]+?)--([\w.-]+)")
"""How the hub's cache names a model's folder; its snapshots are named by commits."""
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_BESIDE = (
    "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json",
    "added_tokens.json", "chat_template.*", "additional_chat_templates/*.jinja",
    "*processor_config.json", "LICENSE*", "NOTICE*", "Notice*",
)  # fmt: skip
"""What belongs to a model beside its weights; a folder may hold anything else too."""


@dataclass(frozen=True, slots=True)
class Base:
    """A run's base."""

    folder: Path
    name: str
    """Its id on the hub, `embedded`, or empty where nobody else knows it."""
    revision: str | None

    @property
    def weights(self) -> list[Path]:
        """Its safetensors files, in order. Raises `Refusal` where one is missing."""
        names = [_WHOLE]
        if not (self.folder / _WHOLE).is_file() and (self.folder / _INDEX).is_file():
            index = guarded.json_document(self.folder / _INDEX)["weight_map"]
            names = sorted({str(name) for name in index.values()})
        for name in names:
            if Path(name).name != name or not (self.folder / name).is_file():
                reason = f"{name} is not there, and the base's weights are needed"
                raise Refusal.of(str(self.folder), reason, "Fetch the base anew")
        return [self.folder / name for name in names]

    def beside(self) -> Iterator[tuple[str, Path]]:
        """Names and files of all that belongs to it beside its weights."""
        named = {path.relative_to(self.folder).as_posix(): path
                 for pattern in _BESIDE for path in self.folder.glob(pattern)}  # fmt: skip
        index = self.folder / _INDEX
        if index.is_file() and not (self.folder / _WHOLE).is_file():
            named[_INDEX] = index
        yield from sorted((name, path) for name, path in named.items() if path.is_file())


def of(model: Model, named: str = "") -> Base:
    """The base of a recipe, with its weights; `named` is what the user says of it.

    Raises `Refusal` where its files are not here.
    """
    if model.path != EMBEDDED and files.is_gguf(model.path):
        checkpoint.with_weights(model.path)
    source = folder_or_id(model)
    try:
        folder = mapped_tensor.folder_of(source, model.revision)
    except OSError as error:
        reason = f"its files are not here: {str(error).splitlines()[0][:200]}"
        raise Refusal.of(model.path, reason, "Fetch it, as a run does", key="model.path") from None
    if named:
        name, _, revision = named.partition("@")
        return Base(folder, name, revision or None)
    name, commit = _in_hub_cache(folder)
    if model.path == EMBEDDED:
        name = EMBEDDED
    elif not name and not Path(source).is_dir():
        name = model.path
    return Base(folder, name, commit or model.revision)


def _in_hub_cache(folder: Path) -> tuple[str, str]:
    """Id and commit that a folder of the hub's cache stands for; empty for any other."""
    match = _SNAPSHOT.fullmatch(folder.parent.parent.name)
    if not match or folder.parent.name != "snapshots":
        return "", ""
    return f"{match[1]}/{match[2]}", folder.name


def portable(document: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the keys by which it tells where it lay."""
    return {
        key: value
        for key, value in document.items()
        if not (key.endswith(("name_or_path", "_file")) and Path(str(value)).is_absolute())
    }
