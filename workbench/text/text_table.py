"""Tables of commands: columns as wide as what stands in them, their names on top."""

import shutil
import sys
from collections.abc import Sequence

from rich.cells import cell_len

from workbench.text.sanitize import sanitize_line
from workbench.text.styled import UNBROKEN, fit
from workbench.text.terminal import prints_utf8, to_ascii

_GAP = "  "
_LEAST_CELLS = 20
"""What the last column is not cut below."""


def say(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table as wide as the terminal; whole where it is printed elsewhere."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBROKEN
    text = "\n".join(table(names, rows, width))
    print(text if prints_utf8() else to_ascii(text))


def table(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of at most `width` cells, as far as the last column can be cut for it.

    Columns that are empty in every row are left out.
    """
    shown = [[sanitize_line(cell) for cell in row] for row in rows]
    kept = [place for place in range(len(names)) if any(row[place] for row in shown)]
    lines = [[line[place] for place in kept] for line in ([*names], *shown)]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*lines, strict=True)]
    if widths:
        others = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(_LEAST_CELLS, width - others))
    return [
        _GAP.join(fit(cell, cells) for cell, cells in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
