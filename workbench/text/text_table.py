"""Tables of commands: columns as wide as what stands in them, their names on top."""

import shutil
import sys
from collections.abc import Sequence

from rich.cells import cell_len

from workbench.text.sanitize import sanitize_line
from workbench.text.styled import UNBROKEN, fit
from workbench.text.terminal import prints_utf8, to_ascii

_GAP = "  "
_LEAST_CELLS = 14
"""What the last column is not cut below."""


def say(names: Sequence[str], rows: Sequence[Sequence[str]], spared: Sequence[str] = ()) -> None:
    """Print a table as wide as the terminal; whole where it is printed elsewhere."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNBROKEN
    text = "\n".join(table(names, rows, width, spared))
    print(text if prints_utf8() else to_ascii(text))


def table(
    names: Sequence[str], rows: Sequence[Sequence[str]], width: int, spared: Sequence[str] = ()
) -> list[str]:
    """Lines of at most `width` cells, as far as the last column can be cut for it.

    Columns that are empty in every row are left out, and those that are `spared`, one after the
    other, until the rest fits.
    """
    columns = columns_that_fit(names, rows, width, spared)
    if not columns:
        return []
    widths = [max(map(cell_len, column)) for column in columns.values()]
    widths[-1] = min(widths[-1], max(_LEAST_CELLS, width - sum(widths[:-1]) - _gaps(columns)))
    return [
        _GAP.join(fit(cell, cells) for cell, cells in zip(line, widths, strict=True)).rstrip()
        for line in zip(*columns.values(), strict=True)
    ]


def columns_that_fit(
    names: Sequence[str], rows: Sequence[Sequence[str]], width: int, spared: Sequence[str]
) -> dict[str, list[str]]:
    """The columns of `table` by their names, each with its name on top."""
    columns = {
        name: [name, *(sanitize_line(row[place]) for row in rows)]
        for place, name in enumerate(names)
        if any(row[place] for row in rows)
    }
    left = list(spared)
    while left and columns and _least_cells(columns) > width:
        columns.pop(left.pop(0), None)
    return columns


def _least_cells(columns: dict[str, list[str]]) -> int:
    """What the columns take where the last one is cut as far as it may be."""
    *widths, last = [max(map(cell_len, column)) for column in columns.values()]
    return sum(widths) + min(last, _LEAST_CELLS) + _gaps(columns)


def _gaps(columns: dict[str, list[str]]) -> int:
    return len(_GAP) * (len(columns) - 1)
