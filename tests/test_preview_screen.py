"""The keys of the preview screen, its waiting and its failures, and rows that mean harm."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench_app import make_app, until
from msgspec.structs import replace
from staged_preview import ANSWER, Staged, row, source
from test_plain import HOSTILE
from textual.pilot import Pilot

from engine.problems import Problem
from engine.sessions.preview import Answer, Broken, Refused, Reply, Span
from workbench.screens.preview import PreviewScreen
from workbench.screens.setup import SetupScreen
from workbench.widgets.canvas import Canvas, Pager
from workbench.widgets.frame import KeyLine

SIZE = (80, 24)
MARKUP = "[/] [red] [@click=app.quit]x[/] [bold"
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)


def is_on(pilot: Pilot[Any], kind: type[object]) -> bool:
    return isinstance(pilot.app.screen, kind)


def enabled(pilot: Pilot[Any]) -> set[str]:
    active = pilot.app.screen.active_bindings.values()
    return {binding.binding.action for binding in active if binding.enabled}


def told(pilot: Pilot[Any], which: str | type[Canvas]) -> str:
    return "\n".join(pilot.app.screen.query_one(which, Canvas).text_rows())


def every_line(pilot: Pilot[Any]) -> list[str]:
    """What the terminal would get of the whole screen, without its styles."""
    return [strip.text for strip in pilot.app.screen._compositor.render_strips()]


async def see(pilot: Pilot[Any], which: str | type[Canvas], text: str) -> None:
    await until(pilot, lambda: text in told(pilot, which))


async def opened(pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: "preview" in enabled(pilot))
    await pilot.press("p")
    await until(pilot, lambda: is_on(pilot, PreviewScreen))


async def answered(pilot: Pilot[Any]) -> None:
    await opened(pilot)
    await see(pilot, "#head", "row 1 of")


async def test_it_is_opened_for_the_chosen_recipe_and_left(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await answered(pilot)
        assert "facts.toml" in every_line(pilot)[0]
        await pilot.press("escape")
        await until(pilot, lambda: is_on(pilot, SetupScreen))
        await opened(pilot)
        await pilot.press("n")
        await until(pilot, lambda: is_on(pilot, SetupScreen))


async def test_a_recipe_with_problems_has_none(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "preview" in enabled(pilot))
        await pilot.press("down")
        await see(pilot, "#problems", "start and preview wait")
        assert "preview" not in enabled(pilot)
        assert "p Preview" in told(pilot, KeyLine)
        await pilot.press("p")
        assert is_on(pilot, SetupScreen)


async def test_it_is_there_for_a_machine_that_is_not(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "preview" in enabled(pilot))
        await pilot.press("shift+tab", "end")
        await see(pilot, "#problems", "start waits")
        assert "start" not in enabled(pilot)
        assert "preview" in enabled(pilot)


async def test_the_engine_is_heated_before_it_is_asked(tmp_path: Path) -> None:
    started: list[Staged] = []
    app = make_app(tmp_path)
    app.preview._start_engine = lambda: started.append(Staged()) or started[-1]  # type: ignore
    async with app.run_test(size=SIZE) as pilot:
        assert started == []
        await until(pilot, lambda: started)
        assert started[0].asked == []


async def test_the_keys_of_rows(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await answered(pilot)
        for keys, number in (
            ("j", 2), ("down", 3), ("k", 2), ("up", 1), ("k", 1), ("end", 250), ("j", 250),
            ("up", 249), ("home", 1),
        ):  # fmt: skip
            await pilot.press(keys)
            await see(pilot, "#row", f"country {number - 1}?")
            head = told(pilot, "#head")
            assert f"row {number} of 250  data/quickstart.jsonl:{number}\n" in head
            assert f"country {number - 1}?" in told(pilot, "#prompt")


async def test_the_next_row_is_shown_at_once(tmp_path: Path) -> None:
    staged = Staged()
    async with make_app(tmp_path, staged=staged).run_test(size=SIZE) as pilot:
        await answered(pilot)
        staged.is_held = True
        for number in range(1, 15):
            await pilot.press("j")
            assert f"country {number}?" in told(pilot, "#row")


async def test_the_keys_of_sources(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await answered(pilot)
        await pilot.press("j", "j")
        for key, head in (("l", "row 1 of 40  data/kowiki"), ("right", "row 3 of 250"),
                          ("left", "row 1 of 40"), ("h", "row 3 of 250")):  # fmt: skip
            await pilot.press(key)
            await see(pilot, "#head", head)
        await pilot.press("l")
        assert "data/kowiki.jsonl:17" in told(pilot, "#findings")


async def test_a_long_row_is_moved_with_its_prompt(tmp_path: Path) -> None:
    lines = Span("".join(f"line {number}\n" for number in range(60)), 400)
    long = row("quickstart", 0, spans=(lines,), prompt=(lines,))
    two = replace(ANSWER, rows=(long, replace(long, line=2)))
    staged = Staged(reply=lambda first, rows: two)
    async with make_app(tmp_path, staged=staged).run_test(size=(120, 24)) as pilot:
        await answered(pilot)
        assert told(pilot, "#row").endswith("line 14\n45 lines more")
        await pilot.press("space", "pagedown")
        for side in ("#row", "#prompt"):
            assert told(pilot, side).startswith("line 30\n")
        await pilot.press("pageup")
        assert told(pilot, "#row").startswith("line 15\n")
        await pilot.press("space", "space", "space", "space")
        assert told(pilot, "#row").endswith("line 58\nline 59")
        await pilot.press("j")
        await until(pilot, lambda: told(pilot, "#row").startswith("line 0\n"))


async def test_panes_where_there_is_room_for_one(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await answered(pilot)
        for key, shown in (("2", {"prompt"}), ("3", {"about", "sources"}), ("1", {"row"})):
            await pilot.press(key)
            await pilot.pause()
            panes = pilot.app.screen.query("#row, #prompt, #about, #sources")
            assert {pane.id for pane in panes if pane.size.height} == shown
        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        panes = pilot.app.screen.query("#row, #prompt, #about, #sources")
        assert all(pane.size.height for pane in panes)


async def test_findings_are_moved_by_their_own_keys(tmp_path: Path) -> None:
    difference = "\n".join(f"+line {number}" for number in range(90))
    staged = Staged(replace(ANSWER, template_difference=difference))
    async with make_app(tmp_path, staged=staged).run_test(size=SIZE) as pilot:
        await answered(pilot)
        await pilot.press("3", "end")
        assert "+line 89" in told(pilot, "#findings")
        await pilot.press("1")
        await pilot.pause()
        assert "row 1 of 250" in told(pilot, "#head")


async def test_waiting_says_what_the_engine_is_at(tmp_path: Path) -> None:
    staged = Staged(is_held=True, phase="starting")
    async with make_app(tmp_path, staged=staged).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await see(pilot, "#standing", "starting ...")
        await pilot.press("j", "l", "end", "home", "2", "1")
        staged.phase = "data: rows.jsonl"
        await see(pilot, "#standing", "data: rows.jsonl ...")
        staged.is_held = False
        await see(pilot, "#row", "country 0?")
        staged.is_held = True
        await pilot.press("end")
        await see(pilot, "#head", "on its way")
        await until(pilot, lambda: "data: rows.jsonl" in every_line(pilot)[0])
        staged.is_held = False
        await see(pilot, "#row", "country 249?")
        assert "data:" not in every_line(pilot)[0]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Refused(1, "x", (Problem("data.sources", "", "it holds no row", "Put some in"),)),
         ("1 problem: there is nothing to show", "data.sources", "it holds no row", "Put some in")),
        (Broken(1, "KeyError: 'a'", "/tmp/engine.log"),
         ("KeyError: 'a'", "/tmp/engine.log", "Leave with escape")),
        (Broken(1, "gone", ""), ("gone", "It left no log")),
    ],
)  # fmt: skip
async def test_what_went_wrong_is_told(
    tmp_path: Path, reply: Reply, words: tuple[str, ...]
) -> None:
    staged = Staged(reply=lambda first, rows: reply)
    async with make_app(tmp_path, staged=staged).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await see(pilot, "#standing", "nothing to show")
        assert all(word in told(pilot, "#standing") for word in words)
        await pilot.press("j", "l", "end", "2", "space", "escape")
        await until(pilot, lambda: is_on(pilot, SetupScreen))
        staged.reply = None
        await answered(pilot)


async def test_an_engine_that_can_not_start_is_told(tmp_path: Path) -> None:
    def start() -> Any:
        raise OSError(28, "No space left on device")

    app = make_app(tmp_path)
    app.preview._start_engine = start
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await see(pilot, "#standing", "No space left on device")


async def test_a_source_without_rows_is_told(tmp_path: Path) -> None:
    empty = source("empty", 0, histogram=())
    staged = Staged(replace(ANSWER, sources=(empty,)))
    async with make_app(tmp_path, staged=staged).run_test(size=SIZE) as pilot:
        await opened(pilot)
        await see(pilot, "#head", "none of its rows is taken")
        await pilot.press("j", "l", "3")
        assert "no rows" in told(pilot, "#lengths")


def hostile(text: str) -> Answer:
    """An answer in which every text is the same."""
    spans = tuple(Span(text, 1, *(bool(bits & bit) for bit in (1, 2, 4))) for bits in range(8))
    made = row("quickstart", 0, spans=spans, prompt=spans)
    failed = replace(made, prompt=(), prompt_error=text)
    rows = tuple(replace(one, source=text, file=text) for one in (made, failed))
    reasons: dict[str, Any] = {name: {text: 1} for name in ("dropped", "noted")}
    reasons |= {name: {text: text} for name in ("first_dropped", "first_noted")}
    told = replace(source(text, 2), format=text, **reasons)
    return replace(
        ANSWER, sources=(told,), rows=rows, template_sha256=text, template_difference=text
    )


def test_the_hostile_answer_leaves_no_text_out() -> None:
    answer = hostile("evil")
    for one in (answer, answer.sources[0], *answer.rows):
        for name, value in msgspec.to_builtins(one).items():
            assert not isinstance(value, str) or value in {"evil", ""} or name in {"text", "kind"}


@pytest.mark.parametrize("size", [SIZE, (120, 40)], ids=["one pane", "all panes"])
@pytest.mark.parametrize("turned", range(0, len(HOSTILE), 4))
async def test_no_text_steers_the_terminal(
    tmp_path: Path, turned: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = [*HOSTILE.values()][turned:] + [*HOSTILE.values()][:turned]
    text = " ".join([*payloads[:2], MARKUP, *payloads]) + "\n\t" + payloads[0]
    staged = Staged(hostile(text), phase=text, is_held=True)
    staged.reply = lambda first, rows: staged.answer
    if size == SIZE:
        monkeypatch.setenv("NO_COLOR", "1")
    async with make_app(tmp_path, staged=staged).run_test(size=size) as pilot:
        await opened(pilot)
        await see(pilot, "#standing", "[red]")
        seen = every_line(pilot)
        staged.is_held = False
        await see(pilot, "#head", "row 1 of 2")
        for key in ("2", "3", "end", "1", "j"):
            await pilot.press(key)
            await pilot.pause()
            seen += every_line(pilot)
            await pilot.click("#texts" if key != "3" else "#about", offset=(20, 2))
        refused = Refused(1, text, (Problem(text, text, text, text),))
        for reply in (refused, Broken(1, text, text)):
            await pilot.press("escape")
            staged.reply = lambda first, rows, reply=reply: reply
            await opened(pilot)
            await see(pilot, "#standing", "nothing to show")
            seen += every_line(pilot)
        assert pilot.app.is_running
        assert is_on(pilot, PreviewScreen)
    assert any("[red]" in line for line in seen)
    assert [ascii(line) for line in seen if UNSAFE.search(line)] == []


async def test_brackets_stand_where_there_is_no_colour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "linux")
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await answered(pilot)
        await pilot.press("j", "j", "j")
        assert "[[The capital of country 3 is a city." in told(pilot, "#row")
        assert "{{<|channel>thought\\n" in told(pilot, "#prompt")
        assert "prompt is a prefix: no" in told(pilot, "#head")


async def test_colours_stand_where_there_are_some(tmp_path: Path) -> None:
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await answered(pilot)
        text = pilot.app.screen.query_one("#row", Pager)
        inks = {ink: words for line in text.lines(60) for words, ink in line}
        assert inks["control"] == "<|turn>"
        assert inks["good"] == "<turn|>"
        assert inks["loss"].startswith("\u21b5") or "capital" in inks["loss"]
