"""What Textual leaves undone at the terminal: signals, hang-ups, bad bytes, talkative output."""

from __future__ import annotations

import asyncio
import codecs
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from rich.color import ColorSystem
from rich.console import Console
from rich.control import Control
from rich.segment import Segments
from rich.text import Text
from textual import events
from textual._compositor import ChopsUpdate
from textual.app import App
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.strip import Strip
from textual.widget import Widget

from engine import user_dirs
from engine.written_for import WrittenFor
from workbench.patches.keyqueue import KeyPassed, KeyQueue
from workbench.patches.sgr_writer import SgrWriter, harmless
from workbench.text.sanitize import sanitize_line
from workbench.text.terminal import takes_utf8, to_ascii
from workbench.widgets.frame import DisabledActions

if TYPE_CHECKING:
    from textual.actions import ActionParseResult

WRITTEN_FOR = WrittenFor(
    "textual",
    ">=8.1,<8.3",
    (
        "textual._compositor:ChopsUpdate.render_segments",
        "textual.app:App._check_bindings",
        "textual.app:App._close_messages_no_wait",
        "textual.app:App._fatal_error",
        "textual.app:App._parse_action",
        "textual.app:App._unnotify",
        "textual.css.stylesheet:Stylesheet.set_variables",
        "textual.drivers.linux_driver:getincrementaldecoder",
        "textual.screen:Screen._binding_chain",
        "textual.strip:Strip.render",
    ),
)
UNPATCHED_RENDER = ChopsUpdate.render_segments
UNPATCHED_STRIP_RENDER = Strip.render
_EVERYWHERE = {"app-interrupt", "app-suspend"}
"""Ids of keys that no dialog takes away."""
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def _forgiving_decoder(encoding: str) -> Any:
    strict = codecs.getincrementaldecoder(encoding)
    return lambda errors="replace": strict(errors)


vars(linux_driver)["getincrementaldecoder"] = _forgiving_decoder


def _render_segments(update: ChopsUpdate, console: Console) -> str:
    """The changed cells of each line and no others; Textual's own begins at the widget's left."""
    written: list[str] = []
    pen = SgrWriter(console._color_system or ColorSystem.TRUECOLOR)
    for y, left, right in update.spans:
        for end, (start, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            first, last = max(start, left), min(end, right)
            if strip is not None and first < last:
                written.append(Control.move_to(first, y).segment.text)
                written.append(pen.written(harmless(strip.crop(first - start, last - start))))
    return "".join(written) + pen.laid_down()


ChopsUpdate.render_segments = _render_segments  # type: ignore[assignment]


def _render_strip(strip: Strip, console: Console) -> str:
    """A whole line of a widget; no text in it can steer the terminal, wherever it came from."""
    return UNPATCHED_STRIP_RENDER(harmless(strip), console)


Strip.render = _render_strip  # type: ignore[method-assign,assignment]


class AsciiDriver(linux_driver.LinuxDriver):
    """For terminals whose locale knows nothing beyond ASCII."""

    def write(self, data: str) -> None:
        """Translate to ASCII."""
        super().write(to_ascii(data))


class TerminalApp(App[None]):
    """An app that gives the terminal back as it was, however it ends."""

    def __init__(self) -> None:
        super().__init__()
        self._hint = ""
        self._keys = KeyQueue(self, super().on_event)

    async def on_event(self, event: events.Event) -> None:
        """Keys wait for each other; nothing else does."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self._keys.add(event)
        else:
            await super().on_event(event)

    def on_key_passed(self, passed: KeyPassed) -> None:
        """The next key may come."""
        self._keys.passed(passed.key)

    def refresh_css(self, animate: bool = True) -> None:
        """Restyle what stands; before anything does, parsing waits for the first widget's styles.

        Textual parses all of it three times while it starts, as long as a tenth of the first paint.
        """
        if self._is_mounted:
            super().refresh_css(animate)
            return
        self.stylesheet.set_variables(self.get_css_variables())
        self.stylesheet._require_parse = True
        for screen in self.screen_stack if self._screen_stacks[self._current_mode] else ():
            screen._css_update_count = self._css_update_count

    def get_driver_class(self) -> type[Driver]:
        """The one that the locale asks for."""
        return super().get_driver_class() if takes_utf8() else AsciiDriver

    def on_mount(self) -> None:
        """Take the signals and watch the terminal, where there is one."""
        if self.is_headless:
            return
        # asyncio's own handlers tell the loop by a pipe alone, which every key writes to as well: a
        # signal that comes while it is full would be lost.
        loop = asyncio.get_running_loop()
        for number in _ENDING_SIGNALS:
            signal.signal(number, lambda came, _: loop.call_soon_threadsafe(self._end_by, came))
        self.app_resume_signal.subscribe(self, lambda _: self.call_later(self._paint_all))
        Thread(target=_end_when_hung_up, daemon=True).start()

    def _paint_all(self) -> None:
        """Paint every cell: after a suspension the shell has written where they were."""
        for widget in (self.screen, *self.screen.walk_children(Widget)):
            widget.refresh()

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action, or say why it can't be done now."""
        target, name, _ = self._parse_action(action, default_namespace or self, namespaces)
        if isinstance(target, DisabledActions) and (reason := target.disabled_reason(name)):
            self.hint(reason)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    async def _check_bindings(self, key: str, priority: bool = False) -> bool:
        """Let a key do what it does; the app's last keys work over a dialog too."""
        is_done = await super()._check_bindings(key, priority)
        if is_done or priority:
            return is_done
        if self.screen.is_modal:
            _, bindings = self.screen._binding_chain[-1]
            for binding in bindings.key_to_bindings.get(key, ()):
                if binding.id in _EVERYWHERE:
                    return await self.run_action(binding.action, self)
        from textual.widgets import Input  # the first paint needs none

        if not isinstance(self.focused, Input):
            self.hint(self.why_idle(key))
        return False

    def why_idle(self, key: str) -> str:
        """Why a key does nothing on this screen."""
        return f"{key} does nothing here"

    def hint(self, text: str) -> None:
        """Say why a key does nothing, in the place of what was said of the key before it."""
        shown = [notice for notice in self._notifications if notice.message == self._hint]
        if shown and text == self._hint:
            return
        for notice in shown:
            self._unnotify(notice, refresh=False)
        self._hint = text
        self.notify(text, markup=False)

    def _end_by(self, number: int) -> None:
        self.exit(return_code=128 + number)

    def _fatal_error(self) -> None:
        """Say what broke in one line; Textual's own report prints local variables."""
        error = self._exception or sys.exception()
        shown = Text(
            f"gemma-bench broke down: {type(error).__name__}: {sanitize_line(error, 300)}\n"
        )
        path = _write_crash(error)
        shown.append(f"The whole story: {path}\n" if path else "")
        shown.append("Runs are not touched by this: gemma-bench runs\n")
        self._exit_renderables.append(Segments(self.console.render(shown, self.console.options)))
        self._close_messages_no_wait()


def _end_when_hung_up() -> None:
    """Wait for the terminal to go, then end at once: an orderly end would write to it for ever."""
    poll = select.poll()
    poll.register(sys.__stdin__ or 0, select.POLLHUP)
    poll.poll()
    os._exit(128 + signal.SIGHUP)


def _write_crash(error: BaseException | None) -> Path | None:
    """A traceback without local variables or environment, for the owner's eyes only."""
    try:
        path = user_dirs.state() / "crash.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", errors="replace") as file:
            file.writelines(traceback.format_exception(error) if error else ["no error kept\n"])
    except (OSError, RuntimeError):
        return None
    return path
