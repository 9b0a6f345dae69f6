"""Every mistake of a recipe at once, before anything is made."""

import difflib
import os
import re
import tomllib
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine import guarded, likeness
from engine.gemma import catalog, lora_targets, terms
from engine.gemma.gguf import files as gguf_files
from engine.gemma.gguf import model as gguf_model
from engine.gemma.shapes import EMBEDDED
from engine.problems import Problem, Refusal
from engine.recipe import (
    aliases,
    data_files,
    dotted,
    files,
    image_rows,
    nearby,
    schema,
    toml_document,
    typed_value,
    validate_adapter,
)
from engine.recipe.schema import Adapter, Model, Recipe

_SECRET = re.compile(r"token$|secret|password|api_key", re.IGNORECASE)
"""What keys are called whose values are nobody's business; no recipe has one."""
_REASONS = {
    "model_type": "it is no table",
    "tuple_type": "it is no list",
    "too_short": "the list is empty",
}
"""What pydantic says in Python's words, in TOML's; by its type of error."""
_UNION = {lora_targets.NAMES, lora_targets.EXPRESSION}
"""What pydantic puts between a key that takes several kinds of values and what is wrong with it."""
_FIRST_KEYS = {
    "model": "model.path", "adapter": "adapter.method", "data": "data.sources",
    "samples": "samples.prompts", "score": "score.heldout",
}  # fmt: skip
"""What is meant by a section that is given a value of its own."""
_MOST_BESIDE = 1000
"""Files of a folder among which one that was mistyped is looked for."""
_KEYS = [*schema.FIELDS, *dotted.fields({"data.sources": schema.Source})]


def load(name: str, overrides: list[str], *, on_paper: bool = False) -> tuple[Recipe, bytes]:
    """A recipe by name or path with its overrides applied, and the file's bytes as they stand.

    Raises `Refusal` with all its problems; on paper neither model nor data need be there.
    """
    path = files.find(name)
    try:
        text = guarded.contents(path, files.MAX_BYTES)
        document = toml_document.settings(text.decode("utf-8"), path.resolve().parent, overrides)
    except OSError as error:
        raise _unreadable(name, path, error) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refusal.of(str(path), f"not valid TOML: {error}", "Mend the line it names") from None
    except guarded.Unreadable as error:
        fix = "Give a recipe file: a few tables of settings"
        raise Refusal.of(str(path), str(error), fix) from None
    except ValueError as error:
        raise Refusal.of("--set", str(error), "Write --set training.learning_rate=2e-4") from None
    mistakes = problems(document, on_paper=on_paper)
    if mistakes:
        raise Refusal(str(path), mistakes)
    return Recipe.model_validate(document), text


def problems(document: dict[str, Any], *, on_paper: bool = False) -> list[Problem]:
    """All problems of a recipe document whose paths are absolute; empty when it can be run.

    On paper nothing is looked for.
    """
    try:
        Recipe.model_validate(document)
        invalid: list[Problem] = []
    except ValidationError as error:
        invalid = _invalid(error)
    faulty = {dotted.setting(problem.key) for problem in invalid}
    valid = {
        section: {
            key: table[key]
            for key in model.model_fields
            if key in table and f"{section}.{key}" not in faulty
        }
        for section, model in schema.SECTIONS.items()
        if isinstance(table := document.get(section), dict)
    }
    model = Model.model_validate(valid.get("model", {}))
    adapter = Adapter.model_validate(valid.get("adapter", {}))
    mistakes = [*invalid, *_check_tables(model), *_check_dtype(model)]
    mistakes += validate_adapter.with_model(model, adapter)
    mistakes += _of_special_kinds(valid) if on_paper else image_rows.problems(document)
    return mistakes + [
        problem
        for section, check in _CHECKS.items()
        if section in valid and not (on_paper and section in _LOOKING)
        for problem in check(valid[section])
    ]


def _of_special_kinds(valid: dict[str, Any]) -> list[Problem]:
    """Paths that lead to what is neither file nor folder, and so to no rows or model anywhere."""
    data, score = valid.get("data", {}), valid.get("score", {})
    model = valid.get("model", {}).get("path", "")
    paths = [
        (f"data.sources.{n}.path", s.get("path")) for n, s in enumerate(data.get("sources", ()))
    ]
    paths += [("data.heldout", data.get("heldout"))]
    paths += [(f"score.{name}", score.get(name)) for name in ("heldout", "general")]
    paths += [("model.path", model), ("model.path", os.path.join(model, "config.json"))]
    return [
        Problem(key, path, f"it is {kind}, and no file", "Give a file that can be read")
        for key, path in paths
        if isinstance(path, str) and (kind := guarded.special_kind(path))
    ]


def _unreadable(name: str, path: Path, error: OSError) -> Refusal:
    if not isinstance(error, FileNotFoundError):
        return Refusal.of(str(path), error.strerror or str(error), "Give a readable recipe file")
    names = {
        Path(name_or_path).stem: name_or_path
        for name_or_path in (*files.names(), *nearby.recipes())
    }
    near = [names[stem] for stem in likeness.nearest(Path(name).stem, names)]
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return Refusal.of(str(path), "there is no such recipe", f"{meant}gemma-bench recipes lists all")


def _invalid(error: ValidationError) -> list[Problem]:
    """What the schema refuses. A list whose items are refused counts as empty; that is left out."""
    details: list[dict[str, Any]] = [
        {**detail, "loc": tuple(part for part in detail["loc"] if part not in _UNION)}
        for detail in error.errors(include_url=False)
    ]
    lists = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return [
        _problem(detail)
        for detail in details
        if detail["type"] != "too_short" or detail["loc"] not in lists
    ]


def _problem(detail: Any) -> Problem:
    key = ".".join(str(part) for part in detail["loc"])
    # Problems are shown, logged and pasted into questions.
    value = "(hidden)" if _SECRET.search(key) else repr(detail["input"])
    value = value if len(value) <= 60 else value[:57] + "..."
    if detail["type"] == "extra_forbidden":
        return _unknown(detail, key, value)
    if detail["type"] == "missing":
        return Problem(key, "", "it is required", f"Add {key} to the recipe")
    reason = _REASONS.get(detail["type"], detail["msg"]).replace("True or False", "true or false")
    return Problem(key, value, reason, _fix(key))


def _unknown(detail: Any, key: str, value: str) -> Problem:
    """An unknown key, with the one that another trainer's name means, or the nearest one."""
    names = [part for part in detail["loc"] if isinstance(part, str)]
    if why := aliases.WITHOUT_EQUAL.get(names[-1].casefold()):
        return Problem(key, value, "unknown key", f"Remove it: {why}")
    nearest = aliases.key_of(names[-1]) if len(names) <= 2 else ""
    if not nearest and len(detail["loc"]) == 1:
        nearest = next(iter(difflib.get_close_matches(key, schema.SECTIONS, 1)), "")
    if not nearest and not isinstance(detail["input"], dict):
        nearest = _alike(names)
    fix = f"Did you mean {nearest}?" if nearest else "Remove it"
    return Problem(key, value, "unknown key", fix, nearest)


def _alike(names: list[str]) -> str:
    """The nearest key: of all, else of those that end alike; empty where none is alike."""
    ends = {key.rpartition(".")[2]: key for key in _KEYS}
    near = difflib.get_close_matches(".".join(names), _KEYS, 1, 0.7)
    near = near or [ends[end] for end in difflib.get_close_matches(names[-1], ends, 1)]
    return near[0] if near else ""


def _fix(key: str) -> str:
    if key in _FIRST_KEYS:
        return f"Did you mean {_FIRST_KEYS[key]}?"
    field = schema.FIELDS.get(dotted.setting(key))
    if field is None:
        return "Give a value of that kind"
    default = field.get_default(call_default_factory=True)
    shown = f" The default is {default!r}" if not field.is_required() else ""
    return f"{field.description or 'Give a value of that kind.'}{shown}"


def _check_model(section: dict[str, Any]) -> list[Problem]:
    path = section.get("path", EMBEDDED)
    if path == EMBEDDED:
        return []
    kind = guarded.kind(path)
    if kind == guarded.FOLDER:
        return _check_model_folder(path)
    if gguf_files.is_gguf(path):
        return _check_gguf(path)
    if kind:
        is_closed = os.path.isfile(path) and not os.access(path, os.R_OK)
        reason = "permission denied" if is_closed else f"it is {kind}, and no model"
        return [Problem("model.path", path, reason, "Give a model folder, or a GGUF file")]
    if typed_value.HUB_ID.fullmatch(path) and not os.path.exists(os.path.dirname(path)):
        return [] if not _is_offline() or is_cached(path) else [_not_cached(path)]
    fix = 'Give a model folder, a GGUF file, a hub id such as google/gemma-3-1b-it, or "embedded"'
    return [Problem("model.path", path, "there is no such folder", fix)]


def _check_model_folder(path: str) -> list[Problem]:
    config = os.path.join(path, "config.json")
    kind = guarded.kind(config)
    if os.path.isfile(config) and os.access(config, os.R_OK):
        return []
    ggufs = sorted(map(str, Path(path).glob("*.gguf")))
    fix = f"Give the file: {ggufs[0]}" if ggufs else "Give a model folder, or a GGUF file"
    reason = "no config.json in it"
    if not os.access(path, os.R_OK | os.X_OK):
        reason = "permission denied"
    elif kind:
        words = "permission denied" if os.path.isfile(config) else f"it is {kind}, and no file"
        reason = f"config.json in it: {words}"
    return [Problem("model.path", path, reason, fix)]


def _check_gguf(path: str) -> list[Problem]:
    """Whether its head is sound, and its terms are agreed to."""
    try:
        gemma = gguf_model.of(path).gemma
    except Refusal as refusal:
        return refusal.problems
    if terms.are_missing(gemma):
        return [terms.PROBLEM]
    return []


def _check_tables(model: Model) -> list[Problem]:
    """Whether there are per-layer embeddings where they are asked to be in host memory."""
    if model.host_tables is not True:
        return []
    try:
        has_tables = catalog.variant_of(model.path).per_layer_width
    except Refusal:
        return []
    if has_tables:
        return []
    reason = "the model has no per-layer embeddings, as Gemma 4 E2B and E4B have"
    return [Problem("model.host_tables", "true", reason, "Leave it out")]


def _check_dtype(model: Model) -> list[Problem]:
    if model.dtype != "float16":
        return []
    reason = "gradients of Gemma 3 and 4 overflow in it, and then the weights are no numbers"
    fix = "Choose bfloat16, or float32 where the device has no bfloat16; auto does"
    return [Problem("model.dtype", "float16", reason, fix)]


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _hub_home() -> Path:
    return Path(os.environ.get("HF_HOME", os.path.expanduser("~/.cache/huggingface")))


def has_token() -> bool:
    """Whether somebody is logged in at the hub, as `hf auth login` leaves it."""
    token_file = Path(os.environ.get("HF_TOKEN_PATH", _hub_home() / "token"))
    return bool(os.environ.get("HF_TOKEN")) or token_file.is_file()


def is_cached(hub_id: str) -> bool:
    """Whether files of a model or a dataset of the hub lie in its cache."""
    cache = Path(os.environ.get("HF_HUB_CACHE", _hub_home() / "hub"))
    return (cache / f"models--{hub_id.replace('/', '--')}" / "snapshots").is_dir()


def _not_cached(path: str) -> Problem:
    return Problem(
        "model.path",
        path,
        "the hub is off (HF_HUB_OFFLINE) and the model is not in its cache",
        "Unset HF_HUB_OFFLINE, or give a local folder",
    )


def _check_data(section: dict[str, Any]) -> list[Problem]:
    return _check_heldout(section.get("heldout")) + [
        problem
        for index, source in enumerate(section.get("sources", ()))
        for problem in _check_source(f"data.sources.{index}", source)
    ]


def _check_heldout(heldout: float | str | None) -> list[Problem]:
    if isinstance(heldout, str):
        return _check_rows("data.heldout", heldout)
    if heldout is None or 0 < heldout < 1:
        return []
    fix = "Give a share such as 0.05, or a file of rows"
    return [Problem("data.heldout", str(heldout), "it is no share between 0 and 1", fix)]


def _check_source(key: str, source: dict[str, Any]) -> list[Problem]:
    path, hub_id, rows = source.get("path"), source.get("id"), source.get("rows")
    mistakes = []
    if path is None and hub_id is None:
        mistakes = [
            Problem(f"{key}.path", "", "it is required", "Give a file as path, or a hub id")
        ]
    elif path is not None and hub_id is not None:
        mistakes = [
            Problem(f"{key}.id", hub_id, "there is a path as well", "Leave one of them out")
        ]
    elif path is not None:
        mistakes = _check_files(key, path, source.get("split"))
        mistakes += [_without_hub(key, name) for name in _ON_THE_HUB if source.get(name)]
    elif hub_id is not None and not typed_value.HUB_ID.fullmatch(hub_id):
        fix = "Write owner/name, as on its page"
        mistakes = [Problem(f"{key}.id", hub_id, "it is no dataset's id", fix)]
    if isinstance(rows, float) and rows > 1:
        fix = "Give a whole number, or a share up to 1"
        mistakes.append(Problem(f"{key}.rows", str(rows), "neither count nor share", fix))
    least, most = (source.get("filter", {}).get(f"{end}_tokens", 0) for end in ("min", "max"))
    if 0 < most < least:
        reason = f"no row has at least {least} and at most {most} tokens"
        fix = "Set max_tokens above min_tokens, or leave one out"
        mistakes.append(Problem(f"{key}.filter.max_tokens", str(most), reason, fix))
    return mistakes


def _check_files(key: str, path: str, split: str | None) -> list[Problem]:
    is_file = not os.path.isdir(path) and not data_files.is_pattern(path)
    if is_file and (unreadable := _check_rows(f"{key}.path", path)):
        return unreadable
    files = data_files.source_files(path, split)
    if files.reason:
        where = f"{key}.split" if split else f"{key}.path"
        return [Problem(where, split or path, files.reason, files.fix)]
    for file in files.read if not is_file else ():
        if damage := data_files.damage(file):
            return [Problem(f"{key}.path", str(file), damage, _ANEW)]
    if files.read:
        return []
    fix = f"Give a folder or pattern with {', '.join(data_files.ENDINGS)} files"
    reason = "no file with rows is there"
    if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):
        reason = "permission denied"
    elif special := files.left_out.get(data_files.NOT_FILES):
        reason += f": {special[0].name} is {guarded.special_kind(special[0])}"
    return [Problem(f"{key}.path", path, reason, fix)]


def _without_hub(key: str, name: str) -> Problem:
    reason = f"{name} belongs to a dataset on the hub, and a path is given"
    return Problem(f"{key}.{name}", "", reason, "Leave it out, and name the files in path")


def _check_score(section: dict[str, Any]) -> list[Problem]:
    files = [name for name in ("heldout", "general") if section.get(name)]
    return [problem for name in files for problem in _check_rows(f"score.{name}", section[name])]


def _check_rows(key: str, path: str) -> list[Problem]:
    file = Path(path)
    try:
        with guarded.opened(file) as rows:
            head = rows.read(1 << 16)
    except FileNotFoundError:
        fix = f"{_meant(file)}Put it there, or name a file of yours in {dotted.setting(key)}"
        return [Problem(key, path, "no such file", fix)]
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        return [Problem(key, path, reason, "Give a file that can be read")]
    if not data_files.is_rows(file):
        fix = f"Give a {', '.join(data_files.ENDINGS)} file, or one of them as .gz or .zst"
        return [Problem(key, path, f"{file.suffix or 'no'} ending", fix)]
    if damage := data_files.damage(file):
        return [Problem(key, path, damage, _ANEW)]
    if not head.strip():
        return [Problem(key, path, "the file is empty", "Give a file with at least one row")]
    return []


def _meant(file: Path) -> str:
    """Which rows of the folder a file may mean that is not there, by names without endings."""
    try:
        with os.scandir(file.parent) as entries:
            beside = [entry.name for entry in islice(entries, _MOST_BESIDE)]
    except OSError:
        return ""
    rows = (name for name in sorted(beside) if data_files.is_rows(Path(name)))
    stems = {name.partition(".")[0]: name for name in rows}
    names = [stems[stem] for stem in likeness.nearest(file.name.partition(".")[0], stems)]
    return f"Did you mean {' or '.join(names)}? " if names else ""


def _check_training(section: dict[str, Any]) -> list[Problem]:
    mistakes = []
    if section.get("max_steps", -1) == 0:
        fix = "Give a count above 0, or leave it out to use num_train_epochs"
        mistakes.append(Problem("training.max_steps", "0", "no step would be trained", fix))
    warmup = section.get("warmup_steps", 0)
    if warmup > 1 and warmup != int(warmup):
        fix = "Give a whole number, or a share below 1"
        mistakes.append(
            Problem("training.warmup_steps", str(warmup), "neither count nor share", fix)
        )
    elif 0 < section.get("max_steps", -1) < warmup and warmup >= 1:
        reason = f"the run of {section['max_steps']} steps would end before the warm-up does"
        fix = "Give a count below training.max_steps, or a share such as 0.03"
        mistakes.append(Problem("training.warmup_steps", f"{warmup:g}", reason, fix))
    return mistakes


_ANEW = "Fetch or copy it anew"
_ON_THE_HUB = ("config", "revision")
"""Keys of a source that say nothing of a path."""
_LOOKING = {"model", "data", "score"}
"""Sections whose checks look for files."""
_CHECKS = {
    "model": _check_model,
    "adapter": validate_adapter.of_section,
    "data": _check_data,
    "training": _check_training,
    "score": _check_score,
}
