"""Styled text in few bytes: a colour is written where it changes, not around every word."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from workbench.text.sanitize import sanitize

RESET = "\x1b[0m"
_COLOUR_LENGTHS = {"5": 3, "2": 5}
"""Codes that a colour takes, by the one after 38 or 48."""


class Codes(NamedTuple):
    """What a terminal has to be told for a style."""

    attributes: tuple[str, ...] = ()
    """Bold, italic and their like; only a reset ends them."""
    foreground: tuple[str, ...] = ()
    background: tuple[str, ...] = ()


class SgrWriter:
    """Knows what the terminal draws with, as long as nothing else is written between."""

    def __init__(self, system: ColorSystem) -> None:
        self._system = system
        self._current = Codes()

    def written(self, segments: Iterable[Segment]) -> str:
        """The text with the codes that it needs after what was written before it."""
        return "".join(
            self._change(_codes(style, self._system) if style else Codes()) + text
            for text, style, _ in segments
        )

    def laid_down(self) -> str:
        """What leaves the terminal as it was found."""
        return self._change(Codes())

    def _change(self, codes: Codes) -> str:
        current, self._current = self._current, codes
        if codes == current:
            return ""
        is_less = any(old and not new for old, new in zip(current, codes, strict=True))
        if is_less or codes.attributes != current.attributes:
            lead, current = ("0",) if any(current) else (), Codes()
            parameters = [*lead, *codes.attributes, *codes.foreground, *codes.background]
        else:
            parameters = [*codes.foreground] if codes.foreground != current.foreground else []
            parameters += codes.background if codes.background != current.background else ()
        return f"\x1b[{';'.join(parameters)}m" if any(codes) else RESET


def harmless(strip: Strip) -> Strip:
    """The strip with what would steer a terminal made visible: the app's last look at any text."""
    if all(text.isprintable() for text, _, _ in strip):
        return strip
    return Strip(
        [Segment(sanitize(text, len(text)).replace("\n", " "), style) for text, style, _ in strip]
    )


@lru_cache(maxsize=1024)
def _codes(style: Style, system: ColorSystem) -> Codes:
    before, mark, _ = style.without_color.render(" ", color_system=system).partition("m ")
    attributes = before.removeprefix("\x1b[").split(";") if mark else []
    before, mark, _ = style.render(" ", color_system=system).partition("m ")
    rest = before.removeprefix("\x1b[").split(";")[len(attributes) :] if mark else []
    foreground: list[str] = []
    background: list[str] = []
    while rest:
        length = _COLOUR_LENGTHS.get(rest[1], 1) if rest[0] in {"38", "48"} else 1
        is_back = rest[0] in {"48", "49"} or rest[0][:-1] in {"4", "10"}
        (background if is_back else foreground).extend(rest[:length])
        rest = rest[length:]
    return Codes(tuple(attributes), tuple(foreground), tuple(background))
