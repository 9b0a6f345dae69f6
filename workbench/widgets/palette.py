"""Inks by name, as styles in the colours of the app's theme."""

from collections.abc import Mapping
from functools import lru_cache

from rich.style import Style
from textual.color import Color

_THEME_COLOURS = {
    "": "foreground",
    "strong": "foreground",
    "accent": "primary",
    "control": "primary",
    "good": "success",
    "loss": "success",
    "warn": "warning",
    "bad": "error",
}
_RUN_COLOURS = {
    "run a": "primary",
    "run b": "warning",
    "run c": "success",
    "run d": "error",
}
_MORE_RUN_COLOURS = {"run e": "#c58af9", "run f": "#78d9ec"}
_SHARES = {"dim": 0.55, "band": 0.3}
"""How far an ink is from the background towards the foreground."""
_BOLD = {"strong", "control", "good", "warn", "bad"}


def palette(theme: Mapping[str, str]) -> dict[str, Style]:
    """A style per ink; those of an entry that is chosen have a background of their own."""
    named = tuple(theme[name] for name in (_THEME_COLOURS | _RUN_COLOURS).values())
    return _palette(theme["background"], named)


@lru_cache(maxsize=4)
def _palette(background: str, named: tuple[str, ...]) -> dict[str, Style]:
    names = _THEME_COLOURS | _RUN_COLOURS
    colours = {ink: Color.parse(name) for ink, name in zip(names, named, strict=True)}
    colours |= {ink: Color.parse(name) for ink, name in _MORE_RUN_COLOURS.items()}
    back, front = Color.parse(background), colours[""]
    colours |= {ink: back.blend(front, share) for ink, share in _SHARES.items()}
    inks = {ink: Style(color=c.rich_color, bold=ink in _BOLD) for ink, c in colours.items()}
    backdrop = back.blend(front, 0.1).rich_color
    inks["kept"] = Style(color=front.rich_color, bgcolor=backdrop)
    for ink, paper in (("other", "warn"), ("other loss", "good")):
        inks[ink] = Style(color=back.rich_color, bgcolor=colours[paper].rich_color)
    inks["chosen"] = Style(color=back.rich_color, bgcolor=colours["accent"].rich_color)
    return inks
