"""What the app's screens have in common: a frame, panes of which one may be shown, a way back."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen

from workbench.text.terminal import draws_braille
from workbench.widgets.canvas import Drawing
from workbench.widgets.frame import DisabledActions, KeyLine, TitleBar, TooSmall, pane_names


def pane_keys(names: Iterable[str]) -> list[Binding]:
    """A number for each pane."""
    return [
        Binding(str(number), f"pane({number - 1})", name, show=False, tooltip=f"Show {name}")
        for number, name in enumerate(names, 1)
    ]


class BenchScreen(DisabledActions, Screen[None]):
    """A title, a body, and the keys."""

    NAME: ClassVar[str]
    PANES: ClassVar[Mapping[str, str | None]] = {}
    """What has the focus in each pane; a screen that has panes yields `#panes` above them."""
    PANE_TITLES: ClassVar[Mapping[str, str]] = {}
    """The words in the frames of widgets, by id."""

    @property
    def is_ascii(self) -> bool:
        """Whether its charts and bars are drawn in ASCII."""
        return not draws_braille()

    def compose(self) -> ComposeResult:
        """The body in its frame."""
        yield TooSmall()
        yield TitleBar(self.NAME)
        yield from self.compose_body()
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """All panes; the style sheet shows one of them where there is no room for more."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Write the titles, and show the first pane."""
        for id, title in self.PANE_TITLES.items():
            self.query_one(f"#{id}").border_title = title
        if self.PANES:
            self.action_pane(0)

    def set_subject(self, subject: str, state: tuple[str, str] = ("", "")) -> None:
        """Name in the title what it is about, and the state of that with an ink."""
        self.query_one(TitleBar).set_subject(subject, state)

    def action_pane(self, index: int) -> None:
        """Show one pane where there is room for one only, else move to it."""
        names = [*self.PANES]
        for place, name in enumerate(names):
            self.set_class(place == index, f"-{name}")
        self.query_one("#panes", Drawing).show(lambda width, height: [pane_names(names, index)])
        target = self.PANES[names[index]]
        self.set_focus(self.query_one(target) if target else None)

    def action_leave(self) -> None:
        """Back to where it was opened from."""
        self.dismiss(None)
