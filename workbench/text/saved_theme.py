"""How the user likes the app to look, kept between its starts."""

import contextlib

from engine import guarded, user_dirs

_FILE = "theme"
_MAX_BYTES = 1 << 10


def read() -> str:
    """Name of the theme that was chosen last; empty where none was."""
    try:
        name = guarded.contents(user_dirs.data() / _FILE, _MAX_BYTES)
    except (OSError, guarded.Unreadable):
        return ""
    return name.decode(errors="replace").strip()


def save(name: str) -> None:
    """Keep the name; where that can't be done the theme lasts as long as the app."""
    with contextlib.suppress(OSError):
        user_dirs.data().mkdir(parents=True, exist_ok=True)
        (user_dirs.data() / _FILE).write_text(f"{name}\n")
