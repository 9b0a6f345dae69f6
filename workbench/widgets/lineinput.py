"""One line that is typed: what is pasted into it is made harmless, escape leaves it."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from workbench.recipe_editor import path_completion
from workbench.text.sanitize import sanitize
from workbench.widgets.frame import is_displayed


class LineInput(Input):
    """Textual's own draws whatever it holds, control characters of a clipboard too."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Take it", id="line-take", tooltip="Take what was typed"),
        Binding("escape", "leave", "Leave it", id="line-leave", tooltip="Leave it as it was"),
    ]

    class Left(Message):
        """The user wants nothing of it."""

    def __init__(self, value: str = "", placeholder: str = "", *, id: str | None = None) -> None:
        super().__init__(value, placeholder, compact=True, select_on_focus=False, id=id)

    def allow_focus(self) -> bool:
        """Only where it is seen."""
        return super().allow_focus() and is_displayed(self)

    async def on_key(self, event: events.Key) -> None:
        """Its own keys at once: Textual's way to them lets letters that come with them go ahead."""
        bindings = self._bindings.copy()
        bindings.apply_keymap(self.app._keymap)
        for binding in bindings.key_to_bindings.get(event.key, ()):
            if await self.app.run_action(binding.action, self):
                event.stop()
                event.prevent_default()
                return

    def replace(self, text: str, start: int, end: int) -> None:
        """Every way to put text in comes by here."""
        super().replace(sanitize(text).replace("\n", " "), start, end)

    def action_leave(self) -> None:
        """Leave it as it was."""
        self.post_message(self.Left())


class PathInput(LineInput):
    """For a path: tab goes on as far as the files that are there go on alike."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", id="path-complete", tooltip="Go on with the path"),
    ]

    class Completed(Message):
        """Several paths go on from what is typed, or none does."""

        def __init__(self, paths: list[str]) -> None:
            super().__init__()
            self.paths = paths

    def action_complete(self) -> None:
        """Type what is sure, and tell of what is not."""
        self.value, paths = path_completion.completed(self.value)
        self.cursor_position = len(self.value)
        if len(paths) != 1:
            self.post_message(self.Completed(paths))


class PromptInput(LineInput):
    """Of a playground. Its cursor stands still: a blinking one is written all the time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", id="line-take", tooltip="Ask base and adapter"),
        Binding("escape", "leave", "Stop/Back", id="line-leave", tooltip="Stop answers, or leave"),
    ]

    def on_mount(self) -> None:
        """Let the cursor stand."""
        self.cursor_blink = False
