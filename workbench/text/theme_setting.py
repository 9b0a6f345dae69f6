"""How the user likes the app to look, kept between its starts."""

import contextlib

from engine import user_dirs

_FILE = "theme"


def theme() -> str:
    """Name of the theme that was chosen last; empty where none was."""
    try:
        return (user_dirs.data() / _FILE).read_text(errors="replace").strip()
    except OSError:
        return ""


def keep_theme(name: str) -> None:
    """Keep the name; where that can't be done the theme lasts as long as the app."""
    with contextlib.suppress(OSError):
        user_dirs.data().mkdir(parents=True, exist_ok=True)
        (user_dirs.data() / _FILE).write_text(f"{name}\n")
