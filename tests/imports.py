"""Who imports whom, read from the source with every import that stands inside a function."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def module_name(path: Path) -> str:
    """Dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(rooms: Iterable[str]) -> dict[str, set[str]]:
    """Modules of these rooms, each with those of them that it imports anywhere in its source."""
    files = {module_name(path): path for room in rooms for path in (ROOT / room).rglob("*.py")}
    return {name: imported_by(path, files) - {name} for name, path in files.items()}


def imported_by(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The known modules that a file imports, at its top or in a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= submodules & known.keys() or {node.module}
    return names & known.keys()


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other, none where imports have one direction."""
    graph = {name: set(targets) for name, targets in graph.items()}
    while leaves := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    while roots := graph.keys() - set().union(*graph.values()):
        graph = {name: targets for name, targets in graph.items() if name not in roots}
    return [sorted(graph)] if graph else []


def room_of(module: str) -> str:
    """`engine.data` of `engine.data.formats.registry`; a file outside a room is its own."""
    return ".".join(module.split(".")[:2])
