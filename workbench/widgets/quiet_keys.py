"""Keys that the key line has no room for; the help, the palette and a keymap have."""

from textual.binding import Binding

_FAR = 1_000_000
"""More lines than anything has."""


def quiet_key(id: str, keys: str, action: str, name: str, tooltip: str) -> Binding:
    """A key that works without being shown."""
    return Binding(keys, action, name, show=False, id=id, tooltip=tooltip)


def moving_keys(page_down: str = "pagedown") -> list[Binding]:
    """Those that go through a list or a text."""
    return [
        quiet_key("list-up", "up,k", "move(-1)", "Up", "One line up"),
        quiet_key("list-down", "down,j", "move(1)", "Down", "One line down"),
        quiet_key("list-page-up", "pageup", "move_page(-1)", "Page up", "Further up"),
        quiet_key("list-page-down", page_down, "move_page(1)", "Page down", "Further down"),
        quiet_key("list-first", "home", f"move(-{_FAR})", "First", "To the top"),
        quiet_key("list-last", "end", f"move({_FAR})", "Last", "To the end"),
    ]
