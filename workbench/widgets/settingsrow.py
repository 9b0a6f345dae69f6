"""Sampling settings and a system prompt, typed in place and judged as they are typed."""

from collections.abc import Mapping
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from engine.sessions.playground import Settings
from workbench.widgets.lineinput import LineInput, PromptInput


@dataclass(frozen=True, slots=True)
class Key:
    """One setting, and the range that it may have."""

    name: str
    is_whole: bool
    least: float
    most: float
    tells: str

    def wrong(self, text: str) -> str:
        """What is wrong with a value; empty where nothing is."""
        number = _number(text, is_whole=self.is_whole)
        kind = "a whole number" if self.is_whole else "a number"
        if number is None or not self.least <= number <= self.most:
            return f"{self.name} is {kind} from {self.least:g} to {self.most:g}: {self.tells}"
        return ""


KEYS = (
    Key("temperature", False, 0, 10, "0 takes the likeliest token"),
    Key("top_p", False, 0.01, 1, "1 takes all tokens"),
    Key("top_k", True, 0, 262_144, "0 takes all tokens"),
    Key("max_new_tokens", True, 1, 32_768, "the longest answer"),
    Key("seed", True, 0, 2**53, "the same one draws the same tokens"),
)
DEFAULTS = {key.name: f"{getattr(Settings(), key.name):g}" for key in KEYS}


def problems_of(texts: Mapping[str, str]) -> dict[str, str]:
    """What is wrong, by key."""
    return {key.name: problem for key in KEYS if (problem := key.wrong(texts[key.name]))}


def settings_of(texts: Mapping[str, str]) -> Settings:
    """Values that nothing is wrong with, as settings."""
    numbers = {key.name: _number(texts[key.name], is_whole=key.is_whole) for key in KEYS}
    return Settings(**numbers)  # type: ignore[arg-type]


def _number(text: str, *, is_whole: bool) -> float | None:
    try:
        return int(text, 10) if is_whole else float(text)
    except ValueError:
        return None


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
