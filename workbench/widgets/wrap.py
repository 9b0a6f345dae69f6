"""Text broken into lines that fit a width in cells, at blanks where it can be."""

from rich.cells import cell_len, set_cell_size

from workbench.text.sanitize import clean


def wrap(text: str, width: int) -> list[str]:
    """Harmless lines of at most so many cells; its own line breaks stay."""
    return [line for part in clean(text).split("\n") for line in _wrap_line(part, max(2, width))]


def fit(text: str, width: int) -> str:
    """The text in exactly so many cells, cut with an ellipsis or filled with blanks."""
    shown = clean(text).replace("\n", " ")
    if cell_len(shown) <= width:
        return shown + " " * (width - cell_len(shown))
    return set_cell_size(shown, max(0, width - 1)) + "…"[: max(0, width)]


def fit_end(text: str, width: int) -> str:
    """The end of the text in at most so many cells, cut with an ellipsis."""
    shown = clean(text).replace("\n", " ")
    if cell_len(shown) <= width:
        return shown
    end = shown[-width:] if width > 0 else ""
    while end and cell_len(end) >= width:
        end = end[1:]
    return "…"[: max(0, width)] + end


def _wrap_line(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cell_len(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        *whole, line = _chopped(word, width)
        lines += whole
    return [*lines, line]


def _chopped(word: str, width: int) -> list[str]:
    pieces, piece, cells = [], "", 0
    for char in word:
        size = cell_len(char)
        if cells + size > width:
            pieces.append(piece)
            piece, cells = "", 0
        piece += char
        cells += size
    return [*pieces, piece]
