"""Every key of a recipe by section, each edited where it stands."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.problems import Problem
from workbench.recipe_editor import draft, keys, path_completion
from workbench.recipe_editor.draft import Draft
from workbench.recipe_editor.keys import Key
from workbench.text.styled import Row, fit
from workbench.widgets.choices import Choices
from workbench.widgets.frame import DisabledActions
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput, PathInput
from workbench.widgets.quiet_keys import quiet_key

_MARK = 2
_NAME = 29
"""Cells of a key's name with its gap."""


class KeyList(DisabledActions, Choices):
    """Takes a draft, and tells of every other one that a change makes of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "edit", "Edit", id="keys-edit", tooltip="Type another value of the key"),
        Binding("u", "undo", "Undo", id="keys-undo", tooltip="Take the recipe's own value"),
        Binding("w", "screen.save_as", "Save", id="keys-save", tooltip="Save as a new recipe"),
        quiet_key("keys-next-value", "right,l", "turn(1)", "Next value", "The next of few values"),
        quiet_key("keys-value-before", "left,h", "turn(-1)", "Value before", "The value before it"),
        quiet_key("keys-toggle", "space", "flip", "Toggle", "True or false"),
        Binding("escape", "close", "Back", id="keys-back", tooltip="Back to what follows"),
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
        self._keys: dict[str, Key] = {}

    def show(self, edited: Draft) -> None:
        """Edit this one; the key that is looked at stays."""
        if edited != self._draft:
            self._leave()
            self._take(edited)

    @property
    def key(self) -> Key:
        """The key that is looked at."""
        return self._keys[self.selected]

    def _take(self, edited: Draft) -> None:
        self._draft = edited
        self._keys = {key.name: key for key in keys.of_draft(edited)}
        sections = groupby(self._keys, lambda name: name.partition(".")[0])
        self.offer([(section, list(names)) for section, names in sections])
        self._look()

    def moved(self) -> None:
        """Another key is looked at."""
        self._leave()
        self._look()

    def _look(self) -> None:
        """Say what is wrong with the value of the key; not what is wrong elsewhere for it."""
        wrong = self._draft.wrong(self.selected, self.key.text)
        mistakes = [problem for problem in wrong if draft.is_of(problem, self.selected)]
        self.post_message(self.Looked(self.key, mistakes))
        self.refresh_bindings()

    def entry(self, name: str, text: str, width: int, ink: str) -> Row:
        """Name, value and whose it is; a changed one with what it was."""
        if not name:
            return [(fit(text, width), "strong")]
        key = self._keys[name]
        left = f"{'*' if key.origin == 'changed' else '':<{_MARK}}{name.partition('.')[2]:<{_NAME}}"
        value, beside = key.text or "not set", ""
        if key.origin == "changed":
            beside = f"  was {key.own or 'not set'}"
        elif key.origin == "default" and key.text:
            beside = "  default"
        if ink:
            return [(fit(f"{left}{value}{beside}", width), ink)]
        own = {"changed": "warn", "default": "dim"}.get(key.origin, "")
        shown = fit(value, min(width - len(left), len(value)))
        return [(left, "" if own == "dim" else own), (shown, own), (beside, "dim")]

    def disabled_reason(self, action: str) -> str:
        """Why an action can't be done with this key."""
        if not self._keys:
            return ""
        if action == "undo" and self.key.origin != "changed":
            return "It is as the recipe has it"
        is_flip = action == "flip" and self.key.choices != keys.BOOLS
        is_turn = action == "turn" and not self.key.choices
        edit = key_name(self.app, type(self), "keys-edit")
        return f"It is not one of few values: {edit} types one" if is_flip or is_turn else ""

    def action_turn(self, by: int) -> None:
        """Another of few values."""
        choices = self.key.choices
        if choices:
            at = choices.index(self.key.text) if self.key.text in choices else -by
            self._change(choices[(at + by) % len(choices)])

    def action_flip(self) -> None:
        """The other truth."""
        if self.key.choices == keys.BOOLS:
            self.action_turn(1)

    def action_undo(self) -> None:
        """The recipe's own value again."""
        self._change("")

    def _change(self, text: str) -> None:
        self._take(self._draft.changed(self.selected, text))
        self.post_message(self.Changed(self._draft))

    def action_take(self) -> None:
        """Two clicks edit it."""
        self.action_edit()

    def action_edit(self) -> None:
        """Type over the value, where it stands."""
        self._leave()
        kind = PathInput if self.selected in path_completion.KEYS else LineInput
        line = kind(self.key.text, self.key.own)
        self._place(line)
        self.mount(line)
        line.focus()

    def _place(self, line: LineInput) -> None:
        line.styles.offset = (_MARK + _NAME, self.selected_row)
        line.styles.width = max(1, self.content_size.width - _MARK - _NAME)

    @on(LineInput.Changed)
    def _judge(self, typed: LineInput.Changed) -> None:
        """Say at once what is wrong with it, and what it would break elsewhere."""
        typed.stop()
        self.post_message(self.Looked(self.key, self._draft.wrong(self.selected, typed.value)))

    @on(LineInput.Submitted)
    def _take_typed(self, typed: LineInput.Submitted) -> None:
        """Take it unless something is wrong with it."""
        typed.stop()
        wrong = self._draft.wrong(self.selected, typed.value)
        if not any(draft.is_of(problem, self.selected) for problem in wrong):
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
        """The line of an edit stands where its key does."""
        for line in self.query(LineInput):
            self._place(line)

    def action_close(self) -> None:
        """Edited enough."""
        self.post_message(self.Closed())
