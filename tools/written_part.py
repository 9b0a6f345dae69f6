"""A part of a page in docs/ that a tool writes, between two marks."""

from collections.abc import Callable
from pathlib import Path


def renewed(text: str, begin: str, part: str, end: str) -> str:
    """The page with what stands between its marks written anew."""
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}{part}{end}{after}"


def write(file: Path, page: Callable[[str], str]) -> None:
    """Replace a page by what it should be."""
    file.write_text(page(file.read_text("utf-8")), "utf-8")
