"""A preview on a terminal: marked with and without colour, as wide as it is, harmless."""

import re
from typing import Any

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from engine.sessions.preview import Answer, Row, Span
from engine.sessions.source_report import SourceReport, TokenLengths
from tests.test_plain import HOSTILE
from workbench.text.preview_page import page
from workbench.text.token_marks import TextStyle

COLOUR, PLAIN, ASCII = TextStyle(True, True), TextStyle(False, True), TextStyle(False, False)
START, END = Span("<|turn>", 1, is_control=True), Span("<turn|>", 1, True, True)
SPANS = (START, Span("user\nWhy?\n", 4), START, Span("model\n", 2),
         Span("So it is.", 4, False, True), END, Span("\n", 1, False, True))  # fmt: skip
ROW = Row("rows", "folder/rows.jsonl", 7, "".join(span.text for span in SPANS), (5,) * 14,
          (-100,) * 8 + (5,) * 6, False, 14, None, SPANS, SPANS[:4])  # fmt: skip
SOURCE = SourceReport(
    "rows", "messages", 1200, 1100, 1100,
    {"an empty answer": 100}, {"an empty answer": "folder/rows.jsonl:3"}, {}, {},
    tokens=TokenLengths(20, 40, 90), truncated_share=0.25, supervised_share=0.5,
    histogram=((25, 1000), (50, 0), (90, 100)),
)  # fmt: skip
ANSWER = Answer(1, (SOURCE,), (ROW,), 64, "ab" * 32)


def bare(text: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def printed(row: Row, width: int, ink: TextStyle) -> str:
    """A row of data as the page prints it, below its heading."""
    lines = page(replace(ANSWER, rows=(row,)), width, ink).rpartition("\n\nrow 1 of 1")[2]
    return "\n".join(lines.split("\n")[2:])


def heading(row: Row) -> str:
    """Its figures, and how it compares to the prompt."""
    lines = page(replace(ANSWER, rows=(row,)), 60, PLAIN).rpartition("\n\nrow 1 of 1")[2]
    return lines.split("\n")[1]


def test_loss_is_marked_by_brackets_where_there_is_no_colour() -> None:
    assert printed(ROW, 60, PLAIN) == (
        "trained on\n<|turn>user\nWhy?\n<|turn>model\n\u27e6So it is.<turn|>\u21b5\u27e7\n"
        "prompt at inference\n<|turn>user\nWhy?\n<|turn>model"
    )
    assert heading(ROW).endswith("   prompt is a prefix: yes")
    assert "[[So it is.<turn|>\\n]]" in printed(ROW, 60, ASCII)


def test_loss_is_marked_by_colour_where_there_is_some() -> None:
    shown = printed(ROW, 60, COLOUR)
    assert "\x1b[32mSo it is.\x1b[0m\x1b[1;36;32m<turn|>\x1b[0m" in shown
    assert "\x1b[1;36m<|turn>\x1b[0muser" in shown
    assert "\u27e6" not in shown


@pytest.mark.parametrize("ink", [COLOUR, PLAIN, ASCII])
@pytest.mark.parametrize("width", [20, 79, 80, 121])
def test_a_row_stands_beside_its_prompt_where_there_is_room(width: int, ink: TextStyle) -> None:
    words = Span(
        "한국어로 된 긴 문장 and a-word-that-is-far-too-long-for-any-line " * 5, 9, False, True
    )
    lines = bare(printed(replace(ROW, spans=(*SPANS, words)), width, ink)).splitlines()
    rows = [line for line in lines if not line.startswith(("trained on", "prompt"))]
    assert all(cell_len(line) <= width for line in rows)
    assert (" | " in lines[0]) == (width >= 80)
    told = "".join("".join(line.partition(" |")[0].split()) for line in lines[1:])
    assert "".join(words.text.split()) in told


def test_the_cut_and_the_difference_are_marked() -> None:
    cut = replace(ROW, truncated=True, whole_tokens=99, cut_at=14)
    assert printed(cut, 60, PLAIN).count("[85 tokens cut here]") == 1
    other = replace(ROW, prompt=(*SPANS[:3], Span("the ", 1, is_different=True), SPANS[3]))
    assert "\u27eathe \u27eb" in printed(other, 60, PLAIN)
    assert "\x1b[7mthe " in printed(other, 60, COLOUR)
    assert "prompt is a prefix: no" in heading(other)
    assert "bare text has no prompt" in heading(replace(ROW, prompt=()))
    assert "fails: oh" in heading(replace(ROW, prompt=(), prompt_error="oh"))


def test_the_page_tells_every_figure() -> None:
    shown = page(ANSWER, 100, PLAIN)
    for words in (
        "format     asked  taken  p50  p95  max     cut  with loss\n",
        "messages   1,200  1,100   20   40   90  25.0 %     50.0 %\n",
        "rows: messages\ndropped 100 x an empty answer\n  first: folder/rows.jsonl:3\n",
        "      1 -      25  " + "\u2588" * 35 + " 1,000\n",
        "     26 -      50\n",
        "     51 -      90  " + "\u2588" * 4 + " 100\n",
        "row 1 of 1 (rows)  folder/rows.jsonl:7\n14 tokens, 6 with loss   prompt",
        "abababab",
    ):
        assert words in shown
    assert "-<|turn>own" in page(replace(ANSWER, template_difference="-<|turn>own"), 99, PLAIN)


@pytest.mark.parametrize("ink", [COLOUR, PLAIN])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_of_rows_steers_the_terminal(text: str, ink: TextStyle) -> None:
    span: dict[str, Any] = {"tokens": 1, "is_supervised": True}
    row = replace(ROW, source=text, file=text, spans=(Span(text, **span),),
                  prompt=(Span(text, 1, is_different=True),))  # fmt: skip
    reasons = {"dropped": {text: 1}, "first_dropped": {text: text}, "noted": {text: 1}}
    source = replace(SOURCE, name=text, format=text, **reasons)
    failed = replace(row, prompt=(), prompt_error=text)
    shown = bare(
        page(replace(ANSWER, sources=(source,), rows=(row, failed), template_difference=text),
             90, ink)
    )  # fmt: skip
    hidden = {"\u200b", "\u2028", "\u2029", "\u202e", "\u2066", "\u00ad", "\ufeff", "\x7f", "\x9b"}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)
    assert not hidden & set(shown)
