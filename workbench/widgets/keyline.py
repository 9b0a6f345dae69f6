"""The bottom line: the keys that work here and now, and those that would but for a reason."""

from collections.abc import Iterator

from textual import events
from textual.binding import Binding
from textual.screen import Screen

from workbench.widgets.canvas import Canvas, Row, Span

_GAP = "  "


class KeyLine(Canvas):
    """A row of keys and what they do; it can be clicked, and a key that can't be used is dim."""

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._renew)

    def _renew(self, _: Screen[object]) -> None:
        if self.is_attached:
            self.redraw()

    def _shown(self) -> Iterator[tuple[Binding, str, bool]]:
        """Binding, its key as displayed, whether it can be used; one per action."""
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in seen:
                seen.add(binding.action)
                yield binding, self.app.get_key_display(binding), active.enabled

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        spans: list[Span] = []
        for binding, key, is_enabled in self._shown():
            spans.append((f"{key} ", "accent" if is_enabled else "band"))
            spans.append((f"{binding.description}{_GAP}", "" if is_enabled else "band"))
        return [spans]

    def on_click(self, click: events.Click) -> None:
        """A click on a key presses it."""
        end = 0
        for binding, key, is_enabled in self._shown():
            start, end = end, end + len(f"{key} {binding.description}{_GAP}")
            if start <= click.get_content_offset_capture(self).x < end and is_enabled:
                self.app.simulate_key(binding.key)
                return
