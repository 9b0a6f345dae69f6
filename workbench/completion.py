"""What a shell may complete: commands, options, recipes, runs, keys and their values, paths.

The shell starts the command at each tab, so nothing is imported that takes long.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NoReturn

import argcomplete

from engine.paths import RECIPE_SCHEMA
from engine.recipe import data_files, files
from engine.run import adapters, runs
from workbench.commands import options
from workbench.commands.completion_command import SHELLS
from workbench.commands.registry import COMMANDS, SYNONYMS, module
from workbench.recipe_editor import path_completion

Completer = Callable[..., list[str]]
_SOURCE = "data.sources.0"


def complete() -> NoReturn:
    """Answer the shell that started this process, and end it."""
    words = os.environ.get("COMP_LINE", "").split()
    argcomplete.autocomplete(_parser(words), always_complete_options="long", exit_method=os._exit)
    raise SystemExit(0)


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """All commands by name, with the options of the one that is typed."""
    parser = argparse.ArgumentParser(prog="gemma-bench")
    parser.add_argument("--run", metavar="RECIPE", dest="recipe", help="start a run of a recipe")
    if "--run" in words:
        module("run").add_arguments(parser)
    else:
        parser.add_argument("--version", action="store_true", help="print the version")
        options.add_data(parser)
        commands = parser.add_subparsers()
        for name in {**COMMANDS, **{word: "" for word in SYNONYMS if word in words}}:
            command = SYNONYMS.get(name, name)
            typed = commands.add_parser(name, help=COMMANDS[command])
            if name in words:
                module(command).add_arguments(typed)
                _give_completers(typed)
    _give_completers(parser)
    return parser


def _give_completers(parser: argparse.ArgumentParser) -> None:
    for action in parser._actions:
        if completer := _COMPLETERS.get(action.dest):
            action.completer = completer  # type: ignore[attr-defined]


def _recipes(prefix: str, **_: Any) -> list[str]:
    """Those that come along, and files that may be recipes or rows."""
    own = path_completion.offered(
        prefix, lambda path: path.suffix == ".toml" or data_files.is_rows(path)
    )
    return [*files.names(), *own]


def _runs(prefix: str, **_: Any) -> list[str]:
    folders = path_completion.offered(prefix, lambda _: False) if "/" in prefix else []
    return [*(run.name for run in runs.every()), *folders]


def _adapters(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Of the run that is named, or of the newest."""
    name = getattr(parsed_args, "run_name", None)
    listed = runs.meant_by(name, runs.every()) if name else runs.every()
    return [adapter.name for run in listed[:1] for adapter in adapters.every(run)]


def _hardware(**_: Any) -> list[str]:
    from engine.hardware import profiles

    return profiles.names()


def _bases(**_: Any) -> list[str]:
    from engine.gemma import catalog

    return [catalog.variant_of(name).hub_id for name in catalog.names()]


def _forms(**_: Any) -> list[str]:
    from engine.sessions.export_order import Form

    return [*map(str, Form)]


def _number_formats(**_: Any) -> list[str]:
    from engine.sessions.export_order import NUMBER_FORMATS

    return [*NUMBER_FORMATS]


def _settings(prefix: str, **_: Any) -> list[str]:
    """Keys, and behind one its values: the few that it can take, or paths."""
    key, equals, value = prefix.partition("=")
    choices = _choices()
    if not equals:
        return [f"{name}=" for name in choices]
    values = path_completion.offered(value) if key in path_completion.KEYS else choices.get(key, [])
    return [f"{key}={value}" for value in values]


def _data(prefix: str, **_: Any) -> list[str]:
    return path_completion.offered(prefix, data_files.is_rows)


def _any_path(prefix: str, **_: Any) -> list[str]:
    return path_completion.offered(prefix)


def _folders(prefix: str, **_: Any) -> list[str]:
    return path_completion.offered(prefix, lambda _: False)


_COMPLETERS: dict[str, Completer] = {
    "recipe": _recipes, "run_name": _runs, "names": _runs, "adapter": _adapters,
    "hardware": _hardware, "overrides": _settings, "data": _data, "out": _folders,
    "root": _folders, "file": _any_path, "shell": lambda **_: [*SHELLS],
    "base": _bases, "form": _forms, "number_format": _number_formats,
}  # fmt: skip
"""By what the options of commands are called."""


@cache
def _choices() -> dict[str, list[str]]:
    """What each key can take, where that is little, as the schema's file has it."""
    schema = json.loads(RECIPE_SCHEMA.read_text("utf-8"))
    sections: dict[str, Any] = {
        section: next(filter(None, map(_reference, _alternatives(part))))
        for section, part in schema["properties"].items()
    }
    return {
        f"{section}.{key}": [*_values(part)]
        for section, name in {**sections, _SOURCE: "Source"}.items()
        for key, part in schema["$defs"][name]["properties"].items()
    }


def _alternatives(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [part, *part.get("anyOf", ())]


def _reference(part: dict[str, Any]) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2]


def _values(part: dict[str, Any]) -> Iterable[str]:
    for kind in _alternatives(part):
        if kind.get("type") == "boolean":
            yield from ("false", "true")
        yield from (json.dumps(value).strip('"') for value in kind.get("enum", ()))
