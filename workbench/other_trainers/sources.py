"""The rows that another trainer's configuration names, as sources of a recipe."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine import guarded
from engine.recipe import data_files, typed_value
from workbench.other_trainers import reading
from workbench.other_trainers.mapping import Row
from workbench.other_trainers.reading import Computed, Configuration

KEYS = {
    "datasets", "dataset", "dataset_dir", "dataset_name", "dataset_config", "dataset_train_split",
    "dataset_text_field", "max_samples", "dataset_test_split", "test_datasets", "eval_dataset",
}  # fmt: skip
"""Of all trainers; no other key says what is trained on."""
_JUDGED = {"dataset_test_split", "test_datasets", "eval_dataset"}
_SLICE = re.compile(r"(\w+)\[:(\d+)(%?)\]")
"""What datasets takes for a part of a split, as train[:1000] or train[:10%]."""
_SHAREGPT, _MESSAGES, _TEXT = "sharegpt", "messages", "text"
_READ = {
    "path", "type", "split", "name", "field", "field_messages", "message_property_mappings",
    "message_field_role", "message_field_content", "ds_type", "data_files", "revision",
    "chat_template", "roles_to_train", "train_on_eos", "columns", "id", "conversation",
}  # fmt: skip
"""Keys of a dataset of Axolotl's or TRL's whose meaning is kept, or is the same here."""
Source = dict[str, Any]


def read(configuration: Configuration) -> tuple[list[Source], list[Row]]:
    """The sources, and what became of the keys that name them."""
    settings = configuration.settings
    if configuration.trainer == reading.LLAMA_FACTORY:
        pairs = list(_of_llama_factory(configuration))
    else:
        pairs = list(_listed(configuration))
    sources = [source for source, _ in pairs if source]
    if isinstance(rows := settings.get("max_samples"), int):
        sources = [{**source, "rows": rows} for source in sources]
    lost = [row for _, row in pairs if row]
    rows_of_keys = [
        Row(key, settings[key], {"data.sources": sources} if sources else {}, *_why(key, sources))
        for key in settings
        if key in KEYS
    ]
    return sources, [*rows_of_keys, *lost]


def _why(key: str, sources: list[Source]) -> tuple[str, bool]:
    """Why a key names no source, and whether that loses something."""
    if key in _JUDGED:
        return "other rows are kept for judging by data.heldout", True
    return ("", False) if sources else ("no source could be made of it", True)


def _listed(configuration: Configuration) -> Iterator[tuple[Source, Row | None]]:
    """Of Axolotl's and TRL's lists, and of TRL's single dataset."""
    settings, folder = configuration.settings, configuration.path.resolve().parent
    listed = settings.get("datasets")
    for place, dataset in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(dataset, dict):
            continue
        key = f"datasets.{place}"
        path = dataset.get("path") or dataset.get("id")
        if not isinstance(path, str) or isinstance(path, Computed):
            yield {}, Row(f"{key}.path", path, {}, "it is no path or name", is_lost=True)
            continue
        source = {**_place(path, dataset, folder), **_split(dataset.get("split")), **_form(dataset)}
        yield source, None
        for name in dataset.keys() - _READ:
            yield {}, Row(f"{key}.{name}", dataset[name], {}, "sources have no such key", True)
    name = settings.get("dataset_name")
    if isinstance(name, str) and not isinstance(name, Computed):
        single = {"name": settings.get("dataset_config")}
        split = _split(settings.get("dataset_train_split"))
        field = settings.get("dataset_text_field")
        is_other = isinstance(field, str) and field != _TEXT
        named = _renamed(_TEXT, _TEXT, field) if is_other else {}
        yield {**_place(name, single, folder), **split, **named}, None


def _place(path: str, dataset: Mapping[str, Any], folder: Path) -> Source:
    """Where it lies: beside the configuration, in the current folder, or on the hub."""
    files = dataset.get("data_files")
    if isinstance(files, str) and (path in {"json", "csv", "parquet", "text"} or _is_file(files)):
        path = files
    for place in (folder, Path.cwd()):
        if (place / path).exists():
            return {"path": str(place / path)}
    if data_files.is_rows(Path(path)) or not typed_value.HUB_ID.fullmatch(path):
        return {"path": str(folder / path)}
    of_hub = {"config": dataset.get("name"), "revision": dataset.get("revision")}
    return {"id": path, **{key: value for key, value in of_hub.items() if value}}


def _is_file(path: str) -> bool:
    return Path(path).exists() or Path(path).is_absolute()


def _split(split: Any) -> Source:
    """A split, or a part of one; train is taken unasked."""
    if not isinstance(split, str) or split == "train":
        return {}
    part = _SLICE.fullmatch(split)
    if part is None:
        return {"split": split}
    rows = int(part[2]) / 100 if part[3] else int(part[2])
    return {"rows": rows, **({"split": part[1]} if part[1] != "train" else {})}


def _form(dataset: Mapping[str, Any]) -> Source:
    """The format by an Axolotl type; where it says none, the rows show it."""
    kind, field = dataset.get("type"), dataset.get("field_messages")
    if isinstance(kind, dict):
        return _form_of_fields(kind)
    if not isinstance(kind, str):
        return {}
    properties = dataset.get("message_property_mappings") or {}
    speaker = properties.get("role") if isinstance(properties, dict) else None
    if kind == "completion":
        return _renamed(_TEXT, _TEXT, dataset.get("field"))
    is_sharegpt = "from" in {speaker, dataset.get("message_field_role")}
    if kind.startswith("sharegpt") or (kind == "chat_template" and is_sharegpt):
        return _renamed(_SHAREGPT, "conversations", field)
    return _renamed(_MESSAGES, "messages", field) if kind == "chat_template" else {}


def _form_of_fields(kind: Mapping[str, Any]) -> Source:
    fields = {
        "instruction": kind.get("field_instruction"),
        "input": kind.get("field_input"),
        "output": kind.get("field_output"),
        "system": kind.get("field_system"),
    }
    return _alpaca({ours: theirs for ours, theirs in fields.items() if isinstance(theirs, str)})


def _alpaca(columns: dict[str, str]) -> Source:
    """Where columns have names of their own; else the rows show what they are."""
    other = {ours: theirs for ours, theirs in columns.items() if ours != theirs}
    form = "instruction_input_output" if "input" in columns else "instruction_output"
    return {"format": form, "columns": other} if other else {}


def _renamed(form: str, ours: str, theirs: Any) -> Source:
    is_other = isinstance(theirs, str) and theirs != ours
    return {"format": form, **({"columns": {ours: theirs}} if is_other else {})}


def _of_llama_factory(configuration: Configuration) -> Iterator[tuple[Source, Row | None]]:
    """Names in its dataset_info.json, which says where they lie and how they are read."""
    settings = configuration.settings
    named = settings.get("dataset")
    names = named.split(",") if isinstance(named, str) else named if isinstance(named, list) else []
    folder, entries = _dataset_info(configuration)
    for name in (str(name).strip() for name in names):
        entry = entries.get(name)
        if isinstance(entry, dict):
            yield _entry(entry, folder), None
        elif typed_value.HUB_ID.fullmatch(name):
            yield {"id": name}, None
        else:
            reason = f"{folder / 'dataset_info.json'} doesn't know it"
            yield {}, Row(f"dataset {name}", name, {}, reason, is_lost=True)


def _dataset_info(configuration: Configuration) -> tuple[Path, dict[str, Any]]:
    """Where it lies and what it says: below the configuration's folder, one above, or this one."""
    name = str(configuration.settings.get("dataset_dir") or "data")
    beside = configuration.path.resolve().parent
    places = [folder / name for folder in (Path.cwd(), beside, *beside.parents)]
    for folder in [*places, beside]:
        try:
            document = guarded.json_document(folder / "dataset_info.json")
        except (OSError, ValueError):
            continue
        if isinstance(document, dict):
            return folder, document
    return places[0], {}


def _entry(entry: Mapping[str, Any], folder: Path) -> Source:
    if hub := entry.get("hf_hub_url"):
        source: Source = {"id": str(hub)}
        source |= {"config": str(entry["subset"])} if entry.get("subset") else {}
    else:
        source = {"path": str(folder / str(entry.get("file_name") or entry.get("script_url")))}
    if isinstance(rows := entry.get("num_samples"), int):
        source["rows"] = rows
    return {**source, **_split(entry.get("split")), **_form_of_entry(entry)}


def _form_of_entry(entry: Mapping[str, Any]) -> Source:
    names = entry.get("columns")
    columns = names if isinstance(names, dict) else {}
    if entry.get("formatting", "alpaca") == "alpaca":
        ours = {"prompt": "instruction", "query": "input", "response": "output"}
        ours |= {"system": "system", "history": "history"}
        return _alpaca({ours[key]: column for key, column in columns.items() if key in ours})
    tags = entry.get("tags")
    is_messages = isinstance(tags, dict) and tags.get("role_tag") == "role"
    if is_messages:
        return _renamed(_MESSAGES, "messages", columns.get("messages", "conversations"))
    return _renamed(_SHAREGPT, "conversations", columns.get("messages"))
