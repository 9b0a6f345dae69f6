"""`gemma-bench import`: a recipe from a configuration of another trainer."""

import os
import re
import shlex
from argparse import ArgumentParser, Namespace
from pathlib import Path

from engine import guarded
from engine.atomic import write_whole
from engine.problems import ExitCode, Refusal
from workbench.commands import options
from workbench.other_trainers import reading, recipe_text
from workbench.other_trainers.mapping import Row
from workbench.recipe_editor import own_rows, user_recipes
from workbench.recipe_editor.draft import overrides
from workbench.text import format, text_table, toml_text

EXAMPLES = """\
  gemma-bench import gemma-qlora.yml         Axolotl, LLaMA-Factory or TRL
  gemma-bench import train.py --out mine.toml         a script for Unsloth, which is not run
  gemma-bench import gemma-qlora.yml --data rows.jsonl --set training.seed=1"""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def add_arguments(parser: ArgumentParser) -> None:
    """A file, and where the recipe is written."""
    parser.add_argument("file", metavar="FILE", type=Path, help="YAML, JSON or a Python script")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the recipe (default: FILE.toml)")
    options.add_data(parser)
    options.add_set(parser)


def run(arguments: Namespace) -> int:
    """Write the recipe, and print what became of every key. Raises `Refusal`."""
    configuration = reading.read(arguments.file)
    changes = own_rows.changes(arguments.data)
    imported = recipe_text.imported(configuration, [*overrides(changes), *arguments.overrides])
    path = _path(arguments.file, arguments.out)
    try:
        write_whole(path, imported.text.encode(), mode=0o666)
    except OSError as error:
        folder = path.absolute().parent
        reason = guarded.why_no_folder(folder) or guarded.reason(error)
        raise Refusal.of(str(path), reason, "Give another place with --out") from None
    text_table.say(("key", "value", "in the recipe"), [*map(_cells, imported.rows)])
    lost = sum(row.is_lost for row in imported.rows)
    unmapped = format.amount(lost, "key")
    print(f"\n{path} is written, as {imported.trainer} has it but for {unmapped} not mapped")
    print(f"see its rows: gemma-bench preview {shlex.quote(str(path))}")
    return ExitCode.DONE


def _path(file: Path, out: Path | None) -> Path:
    """Where nothing is yet. Raises `Refusal`."""
    name = _UNSAFE.sub("-", file.stem).strip(".-") or "imported"
    path = out or Path(f"{name}.toml")
    reason = "it is there already" if os.path.lexists(path) else ""
    reason = reason or ("" if out else user_recipes.name_problem(name))
    if reason or path.suffix != ".toml":
        raise Refusal.of(
            str(path), reason or "a recipe ends in .toml", "Give another name with --out"
        )
    return path


def _cells(row: Row) -> tuple[str, str, str]:
    key = f"{row.key}, by default" if row.is_default else row.key
    settings = "; ".join(
        f"{ours} = {toml_text.of_value(value)}" for ours, value in row.settings.items()
    )
    kind = "NOT MAPPED" if row.is_lost else "needs no key"
    return key, reading.shown(row.value), settings or f"{kind}: {row.reason}"
