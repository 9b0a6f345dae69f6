"""Text written with few codes looks as it does with all of them."""

import random
import re

import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from workbench.patches import driver
from workbench.patches.sgr_writer import SgrWriter


def styles() -> list[Style | None]:
    """Made anew for each colour system: a style of rich remembers its codes in the first one."""
    return [
        None,
        Style(),
        Style(color="#7cacf8"),
        Style(color="#7cacf8", bgcolor="#14171c"),
        Style(color="#d5d9e0", bgcolor="#14171c"),
        Style(color="#d5d9e0", bgcolor="#14171c", bold=True),
        Style(color="#d5d9e0", bgcolor="#232831", bold=True, italic=True),
        Style(bgcolor="#232831"),
        Style(reverse=True),
        Style(color="bright_white", bgcolor="bright_black"),
        Style(color="default", bgcolor="default", dim=True),
        Style(color="red", bgcolor="blue", underline=True),
    ]


def cells(written: str) -> list[tuple[str, frozenset[str], str, str]]:
    """Each character with attributes, foreground and background, as a terminal takes them."""
    shown: list[tuple[str, frozenset[str], str, str]] = []
    attributes: set[str] = set()
    colours = {"fore": "", "back": ""}
    for codes, char in re.findall(r"\x1b\[([\d;]*)m|(.)", written):
        if char:
            shown.append((char, frozenset(attributes), colours["fore"], colours["back"]))
            continue
        rest = codes.split(";")
        while rest:
            code = rest.pop(0)
            if code in {"38", "48"}:
                more = {"5": 2, "2": 4}[rest[0]]
                colours["fore" if code == "38" else "back"] = ";".join(rest[:more])
                del rest[:more]
            elif code == "0":
                attributes, colours = set(), {"fore": "", "back": ""}
            elif len(code) == 1:
                attributes.add(code)
            else:
                is_back = code.startswith("4") or code.startswith("10")
                colours["back" if is_back else "fore"] = "" if code in {"39", "49"} else code
    shown.append(("", frozenset(attributes), colours["fore"], colours["back"]))
    return shown


@pytest.mark.parametrize("system", [*ColorSystem][:3])
def test_it_looks_the_same(system: ColorSystem) -> None:
    dice, inks = random.Random(8), styles()
    for _ in range(300):
        segments = [
            Segment(dice.choice(["a", " bc", "\u28ff"]), dice.choice(inks))
            for _ in range(dice.randint(0, 12))
        ]
        pen, at = SgrWriter(system), dice.randint(0, 12)
        written = pen.written(segments[:at]) + pen.written(segments[at:]) + pen.laid_down()
        whole = "".join(
            style.render(text, color_system=system) if style else text
            for text, style, _ in segments
        )
        assert cells(written) == cells(whole)
        assert len(written) <= len(whole)


def test_what_stays_is_not_written_again() -> None:
    ink, other = (Style(color=colour, bgcolor="#14171c") for colour in ("#7cacf8", "#d5d9e0"))
    pen = SgrWriter(ColorSystem.TRUECOLOR)
    assert pen.written([Segment("a", ink)]) == "\x1b[38;2;124;172;248;48;2;20;23;28ma"
    assert pen.written([Segment("b", ink), Segment("c", other)]) == "b\x1b[38;2;213;217;224mc"
    assert pen.laid_down() == "\x1b[0m"
    assert pen.laid_down() == ""


def test_an_update_writes_its_changed_cells_and_leaves_no_colour_behind() -> None:
    ink = Style(color="#7cacf8")
    rows = [{0: Strip([Segment("abc", ink)])}, {0: Strip([Segment("defg", ink)])}]
    update = driver.ChopsUpdate(rows, [(0, 1, 3), (1, 0, 2)], [[3], [4]])
    written = update.render_segments(Console(color_system="truecolor", force_terminal=True))
    assert written == "\x1b[1;2H\x1b[38;2;124;172;248mbc\x1b[2;1Hde\x1b[0m"
