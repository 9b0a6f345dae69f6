"""What frames every screen: its title, the names of its panes, its keys, and the size it needs."""

from collections.abc import Sequence

from textual import events, on
from textual.binding import Binding
from textual.screen import Screen, ScreenResultType
from textual.widget import Widget

from workbench.text.styled import Row, Span, fit
from workbench.widgets.canvas import Canvas, Drawing

MIN_WIDTH, MIN_HEIGHT = 60, 18
_NAME = "gemma-bench"
_GAP = "  "
_HELP = "help"
_MORE = f"…{_GAP}"
"""Stands for keys that there is no room for."""
Shown = tuple[Binding, str, bool]
"""A binding, its key as displayed, whether it can be used."""


class DisabledActions:
    """For screens and widgets that know why an action is not to be had.

    Its key stays in the key line, dim, and says why when pressed.
    """

    def disabled_reason(self, action: str) -> str:
        """Why an action can't be done now; empty where it can."""
        return ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None is Textual's word for an action that is shown but disabled."""
        return None if self.disabled_reason(action) else True


class TitleBar(Drawing):
    """Program and screen to the left, subject and its state to the right."""

    def __init__(self, screen: str) -> None:
        super().__init__()
        self._screen = screen
        self.set_subject("")

    def set_subject(self, subject: str, state: Span = ("", "")) -> None:
        """Name the subject, and its state with an ink."""
        self.show(lambda width, _: [self._title(width, subject, *state)])

    def _title(self, width: int, subject: str, state: str, ink: str) -> Row:
        state = state and f"  {state}"
        room = max(0, width - len(f"{_NAME}  {self._screen}{state}"))
        shown = fit(subject, min(max(0, room - 2), max(len(subject), 1)))
        gap = " " * max(0, room - len(shown))
        names = [(f"{_NAME}  ", "strong"), (self._screen, "dim"), (gap, "")]
        return [*names, (shown, ""), (state, ink)]


def pane_names(keys: Sequence[str], names: Sequence[str], selected: int) -> Row:
    """Each name with its key; the chosen one stands out."""
    spans: list[Span] = []
    for index, (key, name) in enumerate(zip(keys, names, strict=True)):
        key_ink, ink = ("accent", "strong") if index == selected else ("dim", "dim")
        spans += [(f"{key} ", key_ink), (name, ink), ("    ", "")]
    return spans


def is_displayed(widget: Widget) -> bool:
    """Whether no style hides it or what it lies in."""
    return all(node.display for node in widget.ancestors_with_self)


class FocusKeeper(Screen[ScreenResultType]):
    """A screen that focuses what it is for by itself, and again after it was too small for that."""

    AUTO_FOCUS = ""
    _latest_focus: Widget | None = None

    def on_descendant_focus(self, focus: events.DescendantFocus) -> None:
        """Remember it: what is hidden loses the focus."""
        self._latest_focus = focus.widget

    @on(events.Resize)
    def _sizes_change(self) -> None:
        """Look at the focus once they have settled."""
        self.call_after_refresh(self._give_focus_back)

    def _give_focus_back(self) -> None:
        latest = self._latest_focus
        if self.focused is None and latest is not None and is_displayed(latest):
            self.set_focus(latest)


class TooSmall(Canvas):
    """Takes a screen's place where the terminal is too small: which size it needs."""

    def drawn(self, width: int, height: int) -> list[Row]:
        """Centred lines."""
        here = self.app.size
        lines = [
            (f"this terminal is {here.width} x {here.height}", "strong"),
            (f"gemma-bench needs {MIN_WIDTH} x {MIN_HEIGHT}", ""),
            ("runs go on meanwhile", "dim"),
        ]
        above: list[Row] = [[]] * max(0, (height - len(lines)) // 2)
        return [*above, *([(text.center(width), ink)] for text, ink in lines)]


class KeyLine(Canvas):
    """A row of keys and what they do; it can be clicked, and a key that can't be used is dim."""

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._renew)

    def _renew(self, _: Screen[object]) -> None:
        if self.is_attached:
            self.redraw()

    def _shown(self, width: int) -> list[Shown | None]:
        """Those that fit, one per action; None, and the one for help, stand for the others.

        Where not all fit, those that can be used come first.
        """
        by_action: dict[str, Shown] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in by_action:
                key = self.app.get_key_display(binding)
                by_action[binding.action] = binding, key, active.enabled
        shown: list[Shown | None] = [*by_action.values()]
        if sum(map(_cells, shown)) - len(_GAP) <= width:
            return shown
        rest = [None, *([by_action[_HELP]] if _HELP in by_action else [])]
        first = [one for name, one in by_action.items() if name != _HELP]
        first.sort(key=lambda one: not one[2])
        while first and sum(map(_cells, [*first, *rest])) - len(_GAP) > width:
            first.pop()
        return [*first, *rest]

    def drawn(self, width: int, height: int) -> list[Row]:
        """One row."""
        spans: list[Span] = []
        for one in self._shown(width):
            if one is None:
                spans.append((_MORE, "dim"))
                continue
            binding, key, is_enabled = one
            spans.append((f"{key} ", "accent" if is_enabled else "band"))
            spans.append((f"{binding.description}{_GAP}", "" if is_enabled else "band"))
        return [spans]

    def on_click(self, click: events.Click) -> None:
        """A click on a key presses it."""
        end = 0
        for one in self._shown(self.content_size.width):
            start, end = end, end + _cells(one)
            if start <= click.get_content_offset_capture(self).x < end and one and one[2]:
                self.app.simulate_key(one[0].key)
                return


def _cells(one: Shown | None) -> int:
    if one is None:
        return len(_MORE)
    binding, key, _ = one
    return len(f"{key} {binding.description}{_GAP}")
