"""Text from elsewhere, made harmless before it reaches a terminal."""

import unicodedata

import pytest
from rich.cells import cell_len

from workbench.text.sanitize import sanitize, sanitize_line
from workbench.text.styled import fit, fit_end, wrap

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "clear": "\x1b[2J\x1b[H",
    "string": "\x1bPpayload\x1b\\",
    "main screen": "\x1b[?1049l",
    "c1 sequence": "\x9b31m",
    "c1 string": "\x9d0;owned\x9c",
    "delete": "a\x7fb",
    "backspace": "secret\x08\x08",
    "bell": "\x07",
    "return": "right\rwrong",
    "nul": "a\x00b",
    "override": "abc\u202etxt.exe",
    "isolate": "\u2066abc\u2069",
    "zero width": "a\u200bb",
    "mark": "\u200f\u061c",
    "byte order": "\ufeffa",
    "tag": "\U000e0041\U000e0042",
    "surrogate": "a\ud83db",
    "separator": "a\u2028b\u2029c",
    "annotation": "\ufff9a\ufffab\ufffb",
    "soft hyphen": "a\u00adb",
    "link": "\x1b]8;;file:///etc/passwd\x1b\\here\x1b]8;;\x1b\\",
    "program": "\x1b_Ga=T;AAAA\x1b\\",
    "private": "\x1b^private\x1b\\",
    "query": "\x1b[c\x1b[6n",
    "mouse": "\x1b[?1000h\x1b[?2004l",
    "keyboard": "\x1b[>1u",
    "charset": "\x0e\x1b(0",
    "reset": "\x1bc",
    "pages": "a\x0bb\x0cc",
    "half a sequence": "\x1b[38;5",
    "joiner": "a\u2060b\u2064c",
}
EVERY = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


@EVERY
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    left = [
        char for char in sanitize(text) if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl"}
    ]
    assert left == []


@EVERY
def test_it_says_that_something_was_there(text: str) -> None:
    assert len(sanitize(text)) >= len(text)


@pytest.mark.parametrize(
    "text", ["[/]", "[@click=app.bell]x[/]", "[red]x", "한국어 ağız 🙂 e\u0301"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert sanitize(text) == text


def test_lines_and_tabs() -> None:
    assert sanitize("a\r\nb\tc") == "a\nb    c"
    assert sanitize_line(" a\n\n b ") == "a b"


def test_long_text_is_cut_and_counted() -> None:
    assert sanitize("x" * 50, limit=10) == "x" * 10 + " ...[40 characters more]"


def test_what_is_no_text_is_shown_as_one() -> None:
    assert sanitize(ValueError("\x1b[2J")) == "\u241b[2J"


@pytest.mark.parametrize("width", [2, 7, 20])
def test_lines_fit(width: int) -> None:
    text = "한국어로 된 긴 문장 and a word-that-is-far-too-long-for-it\n\nend"
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize("text", ["", "short", "한국어 문장", "far too long for this"])
def test_a_fitted_text_fills_its_cells(text: str) -> None:
    assert cell_len(fit(text, 9)) == 9


@pytest.mark.parametrize("width", range(-1, 20))
def test_of_a_path_the_end_is_kept(width: int) -> None:
    text = "/자료/폴더/folder/rows.jsonl:17"
    shown = fit_end(text, width)
    assert cell_len(shown) <= max(0, width)
    assert text.endswith(shown.removeprefix("…"))
    assert cell_len(shown) >= width - 2
    assert fit_end("rows:1", 9) == "rows:1"
