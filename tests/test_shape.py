"""The shape of the source: small files, short functions, names that say something."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAYS_NOTHING = {
    "utils", "util", "helpers", "helper", "common", "misc", "base", "core", "manager", "handler",
}  # fmt: skip
MAX_LINES = {"engine": 500, "workbench": 500, "tests": 500}
MAX_FUNCTION_LINES = {"engine": 60, "workbench": 60, "tests": 80}


def sources(room: str) -> list[Path]:
    """Source files of a room that hold something."""
    return [path for path in sorted((ROOT / room).rglob("*.py")) if path.read_bytes()]


FILES = [(room, path) for room in MAX_LINES for path in sources(room)]
EVERY = pytest.mark.parametrize(
    ("room", "path"), FILES, ids=[str(path.relative_to(ROOT)) for _, path in FILES]
)


def test_every_room_was_found() -> None:
    assert {room for room, _ in FILES} == set(MAX_LINES)


@EVERY
def test_a_file_is_short(room: str, path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES[room]


@EVERY
def test_a_function_is_short(room: str, path: Path) -> None:
    long = [
        f"{node.name}: {(node.end_lineno or 0) - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION_LINES[room]
    ]
    assert long == []


@EVERY
def test_a_name_says_something(room: str, path: Path) -> None:
    assert not {path.stem, path.parent.name} & SAYS_NOTHING


@EVERY
def test_a_module_opens_with_what_it_is(room: str, path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_bytes()))
