"""Which steps of a run charts show, and at which of them the reader points."""

from dataclasses import dataclass, replace

_FEWEST_STEPS = 16
"""No closer view than that."""
_CURSOR_STRIDES = 60
"""Presses that move the cursor through the whole view."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a run reaches: its axis's end, and its last step."""

    end: int
    last_step: int


@dataclass(frozen=True, slots=True)
class ChartWindow:
    """A part of the axis of steps; unpinned it follows the run."""

    halvings: int = 0
    """How often the whole axis was halved."""
    pinned: int | None = None
    """First step shown; None follows the last step."""
    cursor: int | None = None
    """The step that is pointed at."""
    is_log: bool = False

    def window(self, extent: Extent) -> tuple[int, int]:
        """First and last step shown.

        A window that follows goes on by half its width at a time, so that curves mostly stand
        still.
        """
        size = self._size(extent)
        if size > extent.end:
            return 0, extent.end
        if self.pinned is not None:
            first = min(self.pinned, extent.end + 1 - size)
        else:
            half = max(1, size // 2)
            first = -(-max(0, extent.last_step + 1 - size) // half) * half
        return first, first + size - 1

    def _size(self, extent: Extent) -> int:
        return max(min(_FEWEST_STEPS, extent.end + 1), (extent.end + 1) >> self.halvings)

    def zoomed(self, by: int, extent: Extent) -> "ChartWindow":
        """Closer by so many halvings, around the cursor where there is one."""
        halvings = max(0, self.halvings + by)
        if by > 0 and self._size(extent) <= _FEWEST_STEPS:
            return self
        if self.cursor is None or not halvings:
            return replace(self, halvings=halvings, pinned=None)
        size = replace(self, halvings=halvings)._size(extent)
        return replace(self, halvings=halvings, pinned=max(0, self.cursor - size // 2))

    def moved(self, by: int, extent: Extent) -> "ChartWindow":
        """The cursor so many strides on; it comes and goes at the last step. The window follows."""
        if extent.last_step < 0:
            return self
        if self.cursor is None:
            return replace(self, cursor=extent.last_step)
        if self.cursor == extent.last_step and by > 0:
            return replace(self, cursor=None)
        size = self._size(extent)
        stride = max(1, size // _CURSOR_STRIDES)
        cursor = max(0, min(extent.last_step, self.cursor + by * stride))
        first, last = self.window(extent)
        if first <= cursor <= last:
            return replace(self, cursor=cursor)
        return replace(self, cursor=cursor, pinned=max(0, cursor - size // 2))

    def whole(self) -> "ChartWindow":
        """All steps, and no cursor."""
        return ChartWindow(is_log=self.is_log)
