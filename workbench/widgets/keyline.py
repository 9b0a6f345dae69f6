"""The bottom line: the keys that work here and now, and those that would but for a reason."""

from textual import events
from textual.binding import Binding
from textual.screen import Screen

from workbench.widgets.canvas import Canvas, Row, Span

_GAP = "  "
_HELP = "help"
Shown = tuple[Binding, str, bool]
"""A binding, its key as displayed, whether it can be used."""


class KeyLine(Canvas):
    """A row of keys and what they do; it can be clicked, and a key that can't be used is dim."""

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._renew)

    def _renew(self, _: Screen[object]) -> None:
        if self.is_attached:
            self.redraw()

    def _shown(self, width: int) -> list[Shown]:
        """Those that fit, one per action; the one for help stays, since it names the others."""
        found: dict[str, Shown] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in found:
                key = self.app.get_key_display(binding)
                found[binding.action] = binding, key, active.enabled
        shown = list(found.values())
        while sum(map(_cells, shown)) - len(_GAP) > width:
            others = [one for one in shown if one[0].action != _HELP]
            if not others:
                break
            shown.remove(others[-1])
        return shown

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        spans: list[Span] = []
        for binding, key, is_enabled in self._shown(width):
            spans.append((f"{key} ", "accent" if is_enabled else "band"))
            spans.append((f"{binding.description}{_GAP}", "" if is_enabled else "band"))
        return [spans]

    def on_click(self, click: events.Click) -> None:
        """A click on a key presses it."""
        end = 0
        for one in self._shown(self.content_size.width):
            start, end = end, end + _cells(one)
            if start <= click.get_content_offset_capture(self).x < end and one[2]:
                self.app.simulate_key(one[0].key)
                return


def _cells(one: Shown) -> int:
    binding, key, _ = one
    return len(f"{key} {binding.description}{_GAP}")
