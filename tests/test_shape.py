"""The shape of the source: short files and functions, names that say something, room budgets."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAYS_NOTHING = {
    "utils", "util", "helpers", "helper", "common", "misc", "base", "core", "manager", "handler",
}  # fmt: skip
HAS_A_THING = {
    "asked", "chosen", "found", "given", "held", "kept", "known", "made", "seen", "taken", "told",
    "wanted",
}  # fmt: skip
"""Words that say that one has a thing, where a name has to say what the thing is."""
TERMS_OF_THE_HUB = {("engine/data/formats/pairs.py", "chosen")}
"""As columns of preference sets are called."""
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = {"engine": 60, "workbench": 60, "tools": 60, "bench": 60, "tests": 80}
ROOM_BUDGETS = {
    "engine/card_stages": 1080,
    "engine/budget": 2850, "engine/data": 7000, "engine/doctor": 3260, "engine/events": 500,
    "engine/gemma": 1920, "engine/hardware": 1280, "engine/jobs": 380, "engine/kernels": 380,
    "engine/model": 2190, "engine/objectives": 300, "engine/recipe": 1765, "engine/run": 1820,
    "engine/sessions": 700, "engine/train": 2880, "workbench/other_trainers": 880,
    "workbench/commands": 2280, "workbench/patches": 430, "workbench/recipe_editor": 1120,
    "workbench/run_view": 1420, "workbench/screens": 2620, "workbench/sessions": 620,
    "workbench/text": 1230, "workbench/widgets": 1710, "engine/export": 1500,
}  # fmt: skip
"""Lines of Python that a room may hold, sub-rooms too. Raise it where a capability needs more."""
FILES_BESIDE_ROOMS = 12


def sources(room: str) -> list[Path]:
    """Source files of a room that hold something."""
    return [path for path in sorted((ROOT / room).rglob("*.py")) if path.read_bytes()]


FILES = {room: sources(room) for room in MAX_FUNCTION_LINES}
EVERY = [path for files in FILES.values() for path in files]


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_room_was_found() -> None:
    assert all(len(files) > 5 for files in FILES.values())
    folders = {
        shown(path) for room in ("engine", "workbench") for path in (ROOT / room).iterdir()
        if (path / "__init__.py").is_file()
    }  # fmt: skip
    assert set(ROOM_BUDGETS) == folders


def test_files_are_short() -> None:
    long = {shown(path): line_count(path) for path in EVERY if line_count(path) > MAX_FILE_LINES}
    assert long == {}


def test_functions_are_short() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name}: {lines} lines"
        for room, files in FILES.items()
        for path in files
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES[room]
    ]
    assert long == []


def test_names_say_something() -> None:
    assert [shown(path) for path in EVERY if {path.stem, path.parent.name} & SAYS_NOTHING] == []


def names_given(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of what is defined or assigned: functions, arguments, variables, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_names_say_what_a_value_is() -> None:
    empty = [
        f"{shown(path)}:{line} {name}"
        for path in [path for room, files in FILES.items() if room != "tests" for path in files]
        for line, name in names_given(ast.parse(path.read_bytes()))
        if name.strip("_").lower() in HAS_A_THING and (shown(path), name) not in TERMS_OF_THE_HUB
    ]
    assert empty == []


def test_modules_open_with_what_they_are() -> None:
    silent = [shown(p) for p in EVERY if not ast.get_docstring(ast.parse(p.read_bytes()))]
    assert silent == []


def test_scripts_that_are_named_are_there() -> None:
    texts = [*EVERY, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    absent = [
        f"{shown(path)}: {name}"
        for path in texts
        for name in re.findall(r"(?:python |`)(bench/[\w/]+\.py|-m bench[\w.]+)", path.read_text())
        if not (
            ROOT / f"{name.removeprefix('-m ').removesuffix('.py').replace('.', '/')}.py"
        ).exists()
    ]
    assert absent == []


@pytest.mark.parametrize("half", ["engine", "workbench"])
def test_rooms_keep_their_budgets(half: str) -> None:
    lines = {room: sum(map(line_count, sources(room))) for room in ROOM_BUDGETS}
    over = {
        room: f"{lines[room]} of {budget}"
        for room, budget in ROOM_BUDGETS.items()
        if room.startswith(half) and lines[room] > budget
    }
    assert over == {}


def test_a_room_with_sub_rooms_holds_a_dozen_files_at_most() -> None:
    crowded = {}
    roots = [ROOT / name for name in ("bench", "tools", "engine", "workbench")]
    for room in [folder for root in roots for folder in [root, *root.rglob("*")]]:
        if not [*room.glob("*/*.py")]:
            continue
        files = len([path for path in room.glob("*.py") if path.name != "__init__.py"])
        if files > FILES_BESIDE_ROOMS:
            crowded[shown(room)] = files
    assert crowded == {}
