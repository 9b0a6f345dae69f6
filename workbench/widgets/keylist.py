"""Every key of a recipe by section, each edited where it stands."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.refusal import Problem
from workbench import draft, recipe_keys
from workbench.draft import Draft
from workbench.recipe_keys import Key
from workbench.widgets.canvas import Canvas, Row
from workbench.widgets.lineinput import LineInput
from workbench.widgets.wrap import fit

_FAR = 1_000_000
_MARK = 2
_NAME = 29
"""Cells of a key's name with its gap."""
_TRUTHS = {"false", "true"}


class KeyList(Canvas, can_focus=True):
    """Holds the draft that it edits, and tells of every change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "Change", tooltip="Type another value of the key"),
        Binding("u", "undo", "Undo", tooltip="Give the key the recipe's own value"),
        Binding("up,k", "move(-1)", "Up", show=False, tooltip="The key above"),
        Binding("down,j", "move(1)", "Down", show=False, tooltip="The key below"),
        Binding("pageup", "move_page(-1)", "Page up", show=False, tooltip="Keys further up"),
        Binding("pagedown", "move_page(1)", "Page down", show=False, tooltip="Keys further down"),
        Binding("home", f"move(-{_FAR})", "First", show=False, tooltip="The first key"),
        Binding("end", f"move({_FAR})", "Last", show=False, tooltip="The last key"),
        Binding("right,l", "turn(1)", "Value", key_display="h/l", tooltip="The next of few values"),
        Binding("left,h", "turn(-1)", "Value before", show=False, tooltip="The value before it"),
        Binding("space", "flip", "Toggle", show=False, tooltip="True or false"),
        Binding("escape", "close", "Back", tooltip="Back to what follows from the recipe"),
    ]

    class Changed(Message):
        """A key has another value."""

        def __init__(self, draft: Draft) -> None:
            super().__init__()
            self.draft = draft

    class Looked(Message):
        """Another key is looked at, or another value of it."""

        def __init__(self, key: Key, problems: list[Problem]) -> None:
            super().__init__()
            self.key, self.problems = key, problems

    class Closed(Message):
        """The user has edited enough."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draft = Draft("", "", {})
        self._keys: list[Key] = []
        self._at = 0
        self._top = 0

    def show(self, edited: Draft) -> None:
        """Edit this one; the key that is looked at stays."""
        if edited != self._draft or not self._keys:
            self._leave()
            self._take(edited)

    @property
    def key(self) -> Key:
        """The key that is looked at."""
        return self._keys[self._at]

    def _take(self, edited: Draft) -> None:
        self._draft, self._keys = edited, recipe_keys.of_draft(edited)
        self._look()

    def _look(self) -> None:
        problems = self._draft.wrong(self.key.name, self.key.text)
        self.post_message(
            self.Looked(self.key, [p for p in problems if draft.is_of(p, self.key.name)])
        )
        self.redraw()
        self.refresh_bindings()

    def _lines(self) -> list[Key | str]:
        """Keys below the names of their sections."""
        lines: list[Key | str] = []
        for key in self._keys:
            section = key.name.partition(".")[0]
            if not lines or (isinstance(lines[-1], Key) and not lines[-1].name.startswith(section)):
                lines.append(section)
            lines.append(key)
        return lines

    def drawn(self, width: int, height: int) -> list[Row]:
        """The lines in view; the key that is looked at is always among them, under its section."""
        if not self._keys:
            return []
        lines = self._lines()
        at = lines.index(self.key)
        first = at - 1 if isinstance(lines[at - 1], str) else at
        self._top = max(at - height + 1, min(self._top, first))
        return [self._row(line, width) for line in lines[self._top : self._top + height]]

    def _row(self, line: Key | str, width: int) -> Row:
        if isinstance(line, str):
            return [(fit(line, width), "strong")]
        name = line.name.partition(".")[2]
        left = f"{'*' if line.origin == 'changed' else ' ':<{_MARK}}{name:<{_NAME}}"
        value, room = line.text or "not set", width - len(left)
        beside = {"changed": f"  was {line.own or 'not set'}", "default": "  default"}
        told = beside.get(line.origin, "") if line.origin != "default" or line.text else ""
        if line is self.key:
            ink = "chosen" if self.has_focus else "kept"
            return [(fit(f"{left}{value}{told}", width), ink)]
        ink = {"changed": "warn", "default": "dim"}.get(line.origin, "")
        shown = fit(value, min(room, max(len(value), 1)))
        return [(left, ink if ink == "warn" else ""), (shown, ink), (told, "dim")]

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show whether the keys go here."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only a change can be undone, and only few values be gone through."""
        if action == "undo":
            return True if self._keys and self.key.origin == "changed" else None
        if action == "turn":
            return bool(self._keys) and bool(self.key.choices)
        return True

    def action_move(self, by: int) -> None:
        """Look at a key further on."""
        self._leave()
        self._at = max(0, min(len(self._keys) - 1, self._at + by))
        self._look()

    def action_move_page(self, by: int) -> None:
        """Look at a key as far on as there is room."""
        self.action_move(by * max(1, self.content_size.height - 1))

    def on_click(self, click: events.Click) -> None:
        """Look at the key under the pointer."""
        lines, at = self._lines(), self._top + click.get_content_offset_capture(self).y
        line = lines[at] if at < len(lines) else ""
        if isinstance(line, Key):
            self.action_move(self._keys.index(line) - self._at)

    def action_turn(self, by: int) -> None:
        """Another of few values."""
        choices = self.key.choices
        if choices:
            at = choices.index(self.key.text) if self.key.text in choices else -by
            self._change(choices[(at + by) % len(choices)])

    def action_flip(self) -> None:
        """The other truth."""
        if set(self.key.choices) == _TRUTHS:
            self.action_turn(1)

    def action_undo(self) -> None:
        """The recipe's own value again."""
        self._change("")

    def _change(self, text: str) -> None:
        self._take(self._draft.changed(self.key.name, text))
        self.post_message(self.Changed(self._draft))

    def action_edit(self) -> None:
        """Type over the value, where it stands."""
        self._leave()
        line = LineInput(self.key.text, self.key.own)
        line.styles.offset = (_MARK + _NAME, self._lines().index(self.key) - self._top)
        line.styles.width = max(1, self.content_size.width - _MARK - _NAME)
        self.mount(line)
        line.focus()

    @on(LineInput.Changed)
    def _judge(self, typed: LineInput.Changed) -> None:
        """Say at once what is wrong with it."""
        typed.stop()
        self.post_message(self.Looked(self.key, self._draft.wrong(self.key.name, typed.value)))

    @on(LineInput.Submitted)
    def _take_typed(self, typed: LineInput.Submitted) -> None:
        """Take it unless something is wrong with it."""
        typed.stop()
        wrong = self._draft.wrong(self.key.name, typed.value)
        if not any(draft.is_of(problem, self.key.name) for problem in wrong):
            self._leave()
            self._change(typed.value.strip())

    @on(LineInput.Left)
    def _leave_typed(self, left: LineInput.Left) -> None:
        left.stop()
        self._leave()
        self._look()

    def _leave(self) -> None:
        """Take the line of an edit away, and the keys back."""
        for line in self.query(LineInput):
            line.remove()
            self.focus()

    def on_resize(self) -> None:
        """The line of an edit would stand elsewhere."""
        self._leave()

    def action_close(self) -> None:
        """Edited enough."""
        self.post_message(self.Closed())
