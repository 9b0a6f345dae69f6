"""The sources of a preview in figures, one line each."""

from collections.abc import Sequence

from textual.geometry import Size

from engine.sessions.source_report import SourceReport
from workbench.text.format import count, share
from workbench.text.sanitize import clean_line
from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.wrap import fit

_NAMES = ("asked", "taken", "p50", "p95", "max", "cut", "with loss")
_FORMAT_CELLS, _MIN_NAME = 16, 8


class SourceTable(Canvas):
    """Figures to the right, the chosen source marked; it is always in view."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._sources: Sequence[SourceReport] = ()
        self._at = 0

    def show(self, sources: Sequence[SourceReport], at: int) -> None:
        """Show these, one of them marked."""
        is_other = len(sources) != len(self._sources)
        self._sources, self._at = sources, at
        if is_other:
            self.refresh(layout=True)
        self.redraw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """A row per source, and the names of the figures."""
        return 1 + max(1, len(self._sources))

    def drawn(self, width: int, height: int) -> list[Row]:
        """Names of the figures, and the sources around the chosen one."""
        figures = [_NAMES, *map(_figures, self._sources)]
        widths = [max(map(len, column)) for column in zip(*figures, strict=True)]
        room = width - sum(widths) - 2 * len(widths) - 2
        kind = max((len(source.format) for source in self._sources), default=0)
        kind = max(0, min(kind, _FORMAT_CELLS, room - _MIN_NAME))
        lines = [
            " ".join([fit(name, max(0, room - kind)), fit(form, kind), _right(cells, widths)])
            for (name, form), cells in zip(self._names(), figures, strict=True)
        ]
        top = max(0, self._at + 2 - height)
        rows: list[Row] = [
            [(fit(line, width), "kept" if at == self._at else "")]
            for at, line in enumerate(lines[1:])
        ]
        return [[(lines[0], "dim")], *rows[top:]]

    def _names(self) -> list[tuple[str, str]]:
        told = [(clean_line(source.name), clean_line(source.format)) for source in self._sources]
        return [("source", "format"), *told]


def _figures(source: SourceReport) -> tuple[str, ...]:
    counts = source.asked, source.taken, source.tokens.p50, source.tokens.p95, source.tokens.max
    shares = source.truncated_share, source.supervised_share
    return (*map(count, counts), *map(share, shares))


def _right(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
