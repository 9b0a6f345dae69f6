"""Inks by name, as styles of the app's theme."""

from functools import lru_cache

from rich.style import Style
from textual.app import App
from textual.color import Color

INKS = ("", "dim", "strong", "accent", "good", "warn", "bad", "band")
_THEME_COLOURS = {"accent": "primary", "good": "success", "warn": "warning", "bad": "error"}
_SHARES = {"dim": 0.55, "band": 0.3}
"""How far an ink is from the background towards the foreground."""


def palette(app: App[object]) -> dict[str, Style]:
    """A style per ink."""
    colours = app.theme_variables
    return _palette(
        colours["foreground"],
        colours["background"],
        tuple(colours[name] for name in _THEME_COLOURS.values()),
    )


@lru_cache(maxsize=4)
def _palette(foreground: str, background: str, named: tuple[str, ...]) -> dict[str, Style]:
    front, back = Color.parse(foreground), Color.parse(background)
    styles = dict.fromkeys(("", "strong"), _style(front, back))
    styles |= {ink: _style(back.blend(front, share), back) for ink, share in _SHARES.items()}
    for ink, colour in zip(_THEME_COLOURS, named, strict=True):
        styles[ink] = _style(Color.parse(colour), back)
    bold = Style(bold=True)
    return {ink: s + bold if ink in _BOLD else s for ink, s in styles.items()}


_BOLD = {"strong", "good", "warn", "bad"}


def _style(front: Color, back: Color) -> Style:
    return Style(color=front.rich_color, bgcolor=back.rich_color)
