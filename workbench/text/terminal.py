"""What the terminal can show: UTF-8, braille, or nothing beyond ASCII."""

import os
import re
import sys

from rich.cells import cell_len

_PLAIN = {
    **dict.fromkeys("─━┄┈╌═▔▁", "-"),
    **dict.fromkeys("│┃║▏▕▊▎", "|"),
    **dict.fromkeys("╭╮╰╯┌┐└┘├┤┬┴┼┏┓┗┛", "+"),
    **dict.fromkeys("█▓▒░▄▀▇▆▅▃▂▌▐", "#"),
    **dict.fromkeys("●•◆", "*"),
    **dict.fromkeys("↵⏎", "<"),
    "⟦": "[", "⟧": "]", "⟪": "{", "⟫": "}",
    "←": "<", "→": ">", "↑": "^", "↓": "v", "▲": "^", "▼": "v", "▶": ">", "◀": "<",
    "…": ".", "·": ".", "×": "x", "°": "o", "–": "-", "—": "-", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")


def why_no_screen() -> str:
    """Say what the app lacks here: it reads keys from stdin and draws on stderr; empty for nothing.

    With stdout elsewhere its last words would go astray.
    """
    names = {"stdin": sys.__stdin__, "stdout": sys.__stdout__, "stderr": sys.__stderr__}
    for name, stream in names.items():
        if stream is None or stream.closed or not stream.isatty():
            return f"{name} is no terminal"
    return f"TERM={os.environ.get('TERM', '')!r} can't place text" if is_dumb() else ""


def is_dumb() -> bool:
    """Whether TERM tells of nothing, or of a terminal whose cursor can't be moved."""
    return os.environ.get("TERM", "") in {"", "dumb", "unknown"}


def takes_utf8() -> bool:
    """Whether the locale is one of UTF-8; where none is set, as in a container, it is taken to be.

    Python itself writes UTF-8 under LC_ALL=C as well (PEP 540), so its encoding doesn't tell.
    """
    named = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, named), "C.UTF-8").lower().replace("-", "")
    if "." in locale or locale in {"c", "posix"}:
        return "utf8" in locale
    return "utf" in (getattr(sys.__stderr__, "encoding", None) or "").lower()


def prints_utf8() -> bool:
    """Whether what is printed is written in UTF-8, wherever it goes."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def draws_braille() -> bool:
    """Whether it shows braille: it takes UTF-8 and is not the kernel's console."""
    return takes_utf8() and os.environ.get("TERM") != "linux"


def to_ascii(text: str) -> str:
    """The text in as many cells, with what is like each character, or question marks."""
    return text if text.isascii() else _BEYOND_ASCII.sub(_plain, text)


def _plain(match: re.Match[str]) -> str:
    char = match.group()
    return _PLAIN.get(char) or "?" * cell_len(char)
