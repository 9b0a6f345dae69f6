"""Each patch of Textual shows the fault it is for in the unpatched class; gone, so may it be."""

import codecs
import inspect
from pathlib import Path

import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate
from textual.app import App, ComposeResult
from textual.drivers import linux_driver
from textual.strip import Strip
from textual.widget import Widget

from engine.written_for import WrittenFor
from workbench.patches import driver
from workbench.patches.driver import TerminalApp
from workbench.patches.sgr_writer import SgrWriter, harmless


def test_a_part_that_is_gone_is_named_with_the_version() -> None:
    with pytest.raises(ImportError, match=r"App\._gone, which textual 8\..* doesn't have"):
        WrittenFor("textual", "==8.2.*", ("textual.app:App._gone",))


def test_textual_stops_at_a_byte_that_is_no_utf8() -> None:
    """Its thread for input makes a strict decoder, and has nothing else to decode by."""
    source = inspect.getsource(linux_driver.LinuxDriver)
    assert 'getincrementaldecoder("utf-8")().decode' in source
    with pytest.raises(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(b"\xff")
    patched = vars(linux_driver)["getincrementaldecoder"]
    assert patched("utf-8")().decode(b"a\xff") == "a\ufffd"


def update() -> ChopsUpdate:
    """One cell of a line of eighty has changed."""
    return ChopsUpdate([{0: Strip([Segment("x" * 80)])}], [(0, 40, 41)], [[80]])


def test_textual_writes_a_widget_s_line_from_its_left() -> None:
    """And so eighty cells where one changed."""
    console = Console(color_system="truecolor", force_terminal=True, width=80)
    assert driver.UNPATCHED_RENDER(update(), console).count("x") > 1
    assert update().render_segments(console).count("x") == 1


def test_what_is_reached_within_an_app_is_there() -> None:
    app = TerminalApp()
    assert hasattr(app.stylesheet, "_require_parse")
    assert all(hasattr(app, n) for n in ("_css_update_count", "_exit_renderables", "_is_mounted"))


def test_textual_s_report_of_a_crash_prints_local_variables() -> None:
    assert "show_locals=True" in inspect.getsource(App._fatal_error)


def test_every_patch_of_textual_lies_in_one_room() -> None:
    """Nothing else of the workbench names Textual's private modules."""
    folder = Path(driver.__file__).parents[1]
    others = [path for path in folder.rglob("*.py") if path.parent.name != "patches"]
    assert [str(p) for p in others if "from textual._" in p.read_text()] == []


class _Careless(Widget):
    """Draws what it was given, as a new widget might that forgot to clean it."""

    def render_line(self, y: int) -> Strip:
        return Strip([Segment("a\x1b]0;owned\x07\x9b2J\n\u202eb", Style(bold=True))])


async def test_no_text_of_any_widget_steers_the_terminal() -> None:
    class Careless(App[None]):
        def compose(self) -> ComposeResult:
            yield _Careless()

    async with Careless().run_test(size=(40, 4)) as pilot:
        compositor = pilot.app.screen._compositor
        whole = compositor.render_update(full=True).render_segments(pilot.app.console)
        pilot.app.screen.query_one(_Careless).refresh()
        strips = list(compositor.render_strips())
        part = "".join(strip.render(pilot.app.console) for strip in strips)
    pen = SgrWriter(ColorSystem.TRUECOLOR)
    for written in (whole, part, pen.written(harmless(_Careless().render_line(0)))):
        assert "owned" in written
        assert not set("\x07\x9b\u202e") & set(written)
        assert "\x1b]" not in written
