"""Sampling settings and a system prompt, typed in place and judged as they are typed."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from engine.sessions.playground import Settings
from workbench.sessions.sampling import DEFAULTS, KEYS, problems_of, settings_of
from workbench.widgets.lineinput import LineInput, PromptInput


class SettingsRow(Vertical):
    """A row of keys, the system prompt, and what is wrong."""

    def compose(self) -> ComposeResult:
        """Each key before its value."""
        with Horizontal():
            for key in KEYS:
                yield Static(key.name, markup=False)
                yield PromptInput(DEFAULTS[key.name], id=key.name)
        with Horizontal():
            yield Static("system prompt", markup=False)
            yield PromptInput(placeholder="none", id="system")
        yield Static("", markup=False, id="wrong")

    def _texts(self) -> dict[str, str]:
        return {key.name: self.query_one(f"#{key.name}", LineInput).value.strip() for key in KEYS}

    @property
    def wrong(self) -> str:
        """What is wrong with the first value that can't be taken; empty where all can."""
        return next(iter(problems_of(self._texts()).values()), "")

    @property
    def settings(self) -> Settings:
        """What was typed, where nothing is wrong."""
        return settings_of(self._texts())

    @property
    def system(self) -> str:
        """The system prompt; empty for none."""
        return self.query_one("#system", LineInput).value

    @on(LineInput.Changed)
    def _judge(self, changed: LineInput.Changed) -> None:
        changed.stop()
        wrong = problems_of(self._texts())
        for key in KEYS:
            self.query_one(f"#{key.name}").set_class(key.name in wrong, "-wrong")
        self.query_one("#wrong", Static).update(Content(self.wrong))
        self.set_class(bool(wrong), "-blocked")
