"""Every key of a screen and what it does: this pane's first, narrowed by what is typed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen

from workbench.text.fuzzy import narrowed
from workbench.text.styled import Row, fit, wrapped
from workbench.widgets.canvas import Pager
from workbench.widgets.frame import DisabledActions, FocusKeeper
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput
from workbench.widgets.quiet_keys import quiet_key

if TYPE_CHECKING:
    from textual.binding import ActiveBinding

_KEYS = 18
"""Cells of the keys with their gap."""
_FAR = 1_000_000


class KeyHelp(NamedTuple):
    """Keys of one action, where they work, what they do, and why they can't now."""

    place: str
    keys: str
    does: str
    name: str
    why_not: str


def of_screen(screen: Screen[object]) -> list[KeyHelp]:
    """The keys that work on a screen as it stands, from its focus outwards."""
    by_action: dict[tuple[object, str], list[ActiveBinding]] = {}
    for active in screen.active_bindings.values():
        if not active.binding.system and (active.tooltip or active.binding.description):
            by_action.setdefault((active.node, active.binding.action), []).append(active)
    return [_help(screen, bindings) for bindings in by_action.values()]


def _help(screen: Screen[object], bindings: list[ActiveBinding]) -> KeyHelp:
    first = bindings[0]
    node, binding = first.node, first.binding
    keys = " ".join(screen.app.get_key_display(active.binding) for active in bindings)
    is_far = isinstance(node, App)
    place = "everywhere" if is_far else "this screen" if node is screen else "this pane"
    why_not = ""
    if not first.enabled and isinstance(node, DisabledActions):
        why_not = node.disabled_reason(binding.action)
    return KeyHelp(place, keys, first.tooltip or binding.description, binding.description, why_not)


def rows(helps: Iterable[KeyHelp], words: str, width: int) -> list[Row]:
    """The keys that the words find, below where they work."""
    matches = narrowed([*helps], words, " ".join)
    lines: list[Row] = []
    place = ""
    for one in matches:
        if one.place != place:
            lines += [[], [(one.place, "strong")]] if lines else [[(one.place, "strong")]]
            place = one.place
        lead = (fit(one.keys, _KEYS - 1) + " ", "dim" if one.why_not else "accent")
        does = f"{one.does} ({one.why_not})" if one.why_not else one.does
        lines += wrapped(does, "dim" if one.why_not else "", width, lead)
    return lines or [[("no key does that", "dim")]]


class HelpScreen(FocusKeeper[None], ModalScreen[None]):
    """A page over another screen; escape leaves it, typing narrows it."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "dismiss", "Back", id="help-leave", tooltip="Leave the help"),
        quiet_key("list-up", "up", "move(-1)", "Up", "One line up"),
        quiet_key("list-down", "down", "move(1)", "Down", "One line down"),
        quiet_key("list-page-up", "pageup", "move_page(-1)", "Page up", "Further up"),
        quiet_key("list-page-down", "pagedown", "move_page(1)", "Page down", "Further down"),
    ]

    def __init__(self, helps: list[KeyHelp]) -> None:
        super().__init__()
        self._helps = helps

    def compose(self) -> ComposeResult:
        """What is typed, and the keys."""
        with Vertical(id="help-page"):
            leave = key_name(self.app, LineInput, "line-leave")
            yield LineInput(placeholder=f"type to find a key; {leave} leaves")
            yield Pager(id="help-keys")

    def on_mount(self) -> None:
        """Type at once."""
        self._pager.can_focus = False
        self._pager.border_title = "keys"
        self.query_one(LineInput).focus()
        self._show("")

    @property
    def _pager(self) -> Pager:
        return self.query_one(Pager)

    def _show(self, words: str) -> None:
        self._pager.show_lines(lambda width: rows(self._helps, words, width))
        self._pager.action_move(-_FAR)

    @on(LineInput.Changed)
    def _narrow(self, typed: LineInput.Changed) -> None:
        self._show(typed.value)

    @on(LineInput.Submitted)
    @on(LineInput.Left)
    def _leave(self) -> None:
        self.dismiss()

    def action_move(self, by: int) -> None:
        """Further up or down."""
        self._pager.action_move(by)

    def action_move_page(self, by: int) -> None:
        """A page further."""
        self._pager.action_move_page(by)
