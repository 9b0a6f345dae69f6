"""Where a prompt or a setting is typed in a playground."""

from typing import ClassVar

from textual.binding import Binding, BindingType

from workbench.widgets.lineinput import LineInput


class PromptInput(LineInput):
    """Its cursor stands still: a blinking one is written to the terminal all the time."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send", tooltip="Ask base and adapter"),
        Binding("escape", "leave", "Stop/Back", tooltip="Stop the answers; else leave"),
    ]

    def on_mount(self) -> None:
        """Let the cursor stand."""
        self.cursor_blink = False
