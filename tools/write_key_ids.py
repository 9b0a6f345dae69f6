"""Write the table of keys and their ids in docs/terminal.md: `python -m tools.write_key_ids`."""

from itertools import groupby
from pathlib import Path

from tools import written_part
from workbench.app import BenchApp
from workbench.screens.keymap import every_key

PAGE = Path(__file__).parents[1] / "docs" / "terminal.md"
BEGIN, END = "<!-- python -m tools.write_key_ids -->\n", "<!-- end -->\n"


def table() -> str:
    """A line for the ids of each place, in the order of the alphabet, each with its keys."""
    keys: dict[str, list[str]] = {}
    for _, binding in every_key(BenchApp):
        of_id = keys.setdefault(binding.id or "", [])
        of_id += [binding.key] if binding.key not in of_id else []
    lines = ["| of | ids and keys |", "|---|---|"]
    for place, ids in groupby(sorted(keys), key=lambda id: id.partition("-")[0]):
        cells = ", ".join(f"`{id}` {' '.join(sorted(keys[id]))}" for id in ids)
        lines.append(f"| {place} | {cells} |")
    return "".join(f"{line}\n" for line in lines)


def page(text: str) -> str:
    """The page with the table as it should be."""
    return written_part.renewed(text, BEGIN, f"\n{table()}\n", END)


if __name__ == "__main__":
    written_part.write(PAGE, page)
