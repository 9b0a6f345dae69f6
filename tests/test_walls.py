"""The walls between the rooms, seen from fresh interpreters and from the source."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.imports import circles, import_graph, room_of

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "accelerate", "numpy",
}  # fmt: skip
SCREEN = {"textual", "plotext"}
REPORT = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([*sys.modules]))
"""


def modules(files: Iterable[Path]) -> list[str]:
    """Dotted names of source files."""
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)


RUFF = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
HEAVY_ROOMS = {
    room
    for glob in RUFF["lint"]["per-file-ignores"]
    if glob.startswith("engine/")
    for room in glob.removeprefix("engine/{").removesuffix("}/**").split(",")
}
"""Folders below engine/ that may import torch and its kin, as pyproject.toml lists them."""
LIGHT = [
    name
    for name in modules((ROOT / "engine").rglob("*.py"))
    if name.split(".")[1] not in HEAVY_ROOMS
]
WORKBENCH = modules((ROOT / "workbench").rglob("*.py"))


def loaded_by(*names: str) -> set[str]:
    """Every module that these imports load in an interpreter of their own."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *(name.removesuffix(".__init__") for name in names)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def offenders(names: list[str], loads_forbidden: Callable[[set[str]], set[str]]) -> dict[str, Any]:
    """Modules whose import loads what it must not, with that; one interpreter where none does."""
    if not loads_forbidden(loaded_by(*names)):
        return {}
    return {name: sorted(bad) for name in names if (bad := loads_forbidden(loaded_by(name)))}


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_there_are_modules_to_look_at() -> None:
    assert {"engine.__main__", "engine.run.rundir", "engine.run.supervise"} <= set(LIGHT)
    assert {"workbench.cli", "workbench.launch", "workbench.commands.follow"} <= set(WORKBENCH)


def test_the_light_engine_is_light() -> None:
    forbidden = HEAVY | SCREEN | {"workbench"}
    assert offenders(LIGHT, lambda loaded: packages(loaded) & forbidden) == {}


def test_the_workbench_reads_files_only() -> None:
    def heavy(loaded: set[str]) -> set[str]:
        rooms = {name for name in loaded if name.startswith("engine.")}
        return (packages(loaded) & HEAVY) | {
            name for name in rooms if name.split(".")[1] in HEAVY_ROOMS
        }

    assert offenders(WORKBENCH, heavy) == {}


def test_an_offender_is_named() -> None:
    assert offenders(["json", "plotext"], lambda loaded: packages(loaded) & SCREEN) == {
        "plotext": ["plotext"]
    }


GRAPH = import_graph(("engine", "workbench", "tools"))
ORDER = [
    "engine.paths", "engine.written_for", "engine.problems", "engine.units", "engine.loss_bounds",
    "engine.installed", "engine.likeness",
    "engine.atomic", "engine.guarded", "engine.user_dirs", "engine.hardware", "engine.gemma",
    "engine.recipe", "engine.events",
    "engine.budget", "engine.run", "engine.sessions", "engine.kernels", "engine.data",
    "engine.model", "engine.objectives", "engine.train", "engine.export", "engine.doctor",
    "engine.jobs", "engine.card_stages",
    "engine.__main__",
    "workbench.text", "workbench.recipe_editor", "workbench.other_trainers", "workbench.launch",
    "workbench.run_view",
    "workbench.sessions", "workbench.widgets", "workbench.patches", "workbench.screens",
    "workbench.app", "workbench.commands", "workbench.completion", "workbench.cli",
    "tools.embedded_model", "tools.simulator", "tools.written_part", "tools.write_recipes",
    "tools.golden_figures", "tools.write_file_kinds", "tools.write_row_formats",
    "tools.write_key_ids",
]  # fmt: skip
"""Rooms from the ground up: each imports those before it only."""


def test_no_import_goes_in_a_circle() -> None:
    assert len(GRAPH) > 200
    assert circles(GRAPH) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_import_goes_upwards() -> None:
    floors = {room: floor for floor, room in enumerate(ORDER)}
    rooms = {room_of(module) for module in GRAPH} - {"engine", "workbench", "tools"}
    assert rooms == set(ORDER)
    upwards = [
        f"{module} -> {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if "." in module and "." in target
        if floors[room_of(target)] > floors[room_of(module)]
    ]
    assert upwards == []


def test_light_source_names_no_heavy_room() -> None:
    by_name = [
        f"{module} -> {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if module in {*LIGHT, *WORKBENCH} - {"engine.__main__"}
        if target.startswith("engine.") and target.split(".")[1] in HEAVY_ROOMS
    ]
    assert by_name == []


def test_the_command_line_answers_without_screen_or_schema() -> None:
    assert not packages(loaded_by("workbench.cli")) & (SCREEN | {"pydantic", "rich", "asyncio"})


def test_the_supervisor_needs_the_standard_library_only() -> None:
    assert not {
        name for name in loaded_by("engine.run.supervise") if name.startswith("engine.")
    } - {"engine.run", "engine.run.supervise"}


def test_package_files_are_empty() -> None:
    files = [*(ROOT / "engine").rglob("__init__.py"), *(ROOT / "workbench").rglob("__init__.py")]
    assert len(files) > 5
    speaking = {ROOT / "engine" / "events" / "__init__.py"}  # so that one can write events.Step
    assert [str(path) for path in files if path.read_bytes() and path not in speaking] == []


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {p.parent for room in ("engine", "workbench") for p in (ROOT / room).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_no_import_is_relative() -> None:
    relative = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ("engine", "workbench", "tests")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
