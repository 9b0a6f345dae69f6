"""The walls between the rooms, seen from fresh interpreters and from the source."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "accelerate", "numpy",
}  # fmt: skip
SCREEN = {"textual", "plotext"}
REPORT = (
    "import json, sys, importlib; importlib.import_module({!r}); print(json.dumps([*sys.modules]))"
)


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


def loaded_by(module: str) -> set[str]:
    """Every module that an import loads in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT.format(module.removesuffix(".__init__"))],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_there_are_modules_to_look_at() -> None:
    assert {"engine.__main__", "engine.run.rundir", "engine.run.supervise"} <= set(LIGHT)
    assert {"workbench.cli", "workbench.launch", "workbench.commands.follow"} <= set(WORKBENCH)


@pytest.mark.parametrize("module", LIGHT)
def test_the_light_engine_is_light(module: str) -> None:
    assert not packages(loaded_by(module)) & (HEAVY | SCREEN | {"workbench"})


@pytest.mark.parametrize("module", WORKBENCH)
def test_the_workbench_reads_files_only(module: str) -> None:
    loaded = loaded_by(module)
    assert not packages(loaded) & HEAVY
    assert not {
        name
        for name in loaded
        if ".".join(name.split(".")[1:2]) in HEAVY_ROOMS and name.startswith("engine.")
    }


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
