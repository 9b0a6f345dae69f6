"""A talk with base and adapter of a run at once, in an engine of its own."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.events import Failed
from engine.problems import Problem, Refusal
from engine.run.rundir import RunDir
from engine.sessions.playground import Command, Stop
from workbench.screens.bench_screen import BenchScreen
from workbench.sessions import engine_session, saved_prompts
from workbench.sessions.chat import Chat
from workbench.sessions.engine_session import Playground
from workbench.text.layouts import log_rows, problem_rows
from workbench.text.sanitize import sanitize_line, sanitize_path
from workbench.widgets import answers
from workbench.widgets.canvas import Drawing, Pager
from workbench.widgets.key_names import key_name
from workbench.widgets.lineinput import LineInput, PromptInput
from workbench.widgets.quiet_keys import quiet_key
from workbench.widgets.settingsrow import SettingsRow

_READ_S = 0.25
_FAR = 1_000_000


class PlaygroundScreen(BenchScreen):
    """Owns its engine: leaving ends it."""

    NAME = "playground"
    CSS_PATH = "playground.tcss"
    PANE_TITLES: ClassVar = {"log": "the engine's last lines"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Stop/Back", id="play-leave", tooltip="Stop answers, or leave"),
        Binding("tab", "app.focus_next", "Settings", id="play-next", tooltip="The next field"),
        Binding("ctrl+s", "save", "Save prompt", id="play-save", tooltip="Save it for a recipe"),
        Binding("ctrl+l", "forget", "New talk", id="play-forget", tooltip="Forget this talk"),
        quiet_key("list-up", "up", "move(-1)", "Up", "One line up"),
        quiet_key("list-down", "down", "move(1)", "Down", "One line down"),
        quiet_key("list-page-up", "pageup", "page(-1)", "Page up", "Back in the talk"),
        quiet_key("list-page-down", "pagedown", "page(1)", "Page down", "On in the talk"),
        quiet_key("list-first", "ctrl+home", f"move(-{_FAR})", "To the top", "Its beginning"),
        quiet_key("list-last", "ctrl+end", f"move({_FAR})", "To the end", "Its end"),
    ]

    def __init__(
        self, run: RunDir, start: Callable[[RunDir], Playground] = engine_session.start_playground
    ) -> None:
        super().__init__()
        self.run = run
        self.talk = Chat()
        self._start = start
        self._played: Playground | None = None
        self._num_prompts = 0

    def compose_body(self) -> ComposeResult:
        """The talk over the lines that are typed; a failure takes their place."""
        yield Drawing(id="talk-head")
        talk = Pager(follows=True, id="talk")
        talk.can_focus = False
        yield talk
        yield Pager(id="standing")
        yield Pager(follows=True, id="log")
        yield SettingsRow()
        yield PromptInput(placeholder="a prompt for both", id="prompt")

    def on_mount(self) -> None:
        """Start the engine and listen to it."""
        self.query_one("#prompt").focus()
        try:
            self._played = self._start(self.run)
        except (Refusal, OSError) as error:
            self._fail(Failed(phase="starting", error=str(error), hint=self._again, log=""))
        self.set_interval(_READ_S, self._listen)
        self._show()

    def on_unmount(self) -> None:
        """Nobody else talks with this engine."""
        if self._played is not None:
            self._played.close()

    def _listen(self) -> None:
        if self._played is None or self.talk.failed is not None:
            return
        death = self._played.death
        news = self._played.new_events()
        self.talk = self.talk.fold(news)
        if self.talk.failed is not None:
            self._fail(self.talk.failed)
        elif death and not news:
            phase = self.talk.phase.name if self.talk.phase else "starting"
            self._fail(Failed(phase=phase, error=f"the engine {death}", hint=self._again, log=""))
        if news or death:
            self._show()

    def _fail(self, failed: Failed) -> None:
        self.talk = self.talk.ended(failed)
        problem = Problem(f"while {failed.phase}", "", failed.error, failed.hint)
        verdict = ("The playground is closed", "bad")
        self.query_one("#standing", Pager).show_lines(partial(problem_rows, verdict, [problem]))
        log = self.query_one("#log", Pager)
        log.show_lines(partial(log_rows, self._played.log_tail() if self._played else []))
        self.set_class(not self.talk.exchanges, "-silent")
        self.set_class(True, "-failed")
        log.focus()

    def _show(self) -> None:
        talk = self.talk
        with self.app.batch_update():
            self.set_subject(sanitize_line(self.run.name), self._state())
            self.query_one("#talk-head", Drawing).show(lambda width, _: answers.talk_head(talk))
            self._pane.show_lines(
                partial(answers.talk_rows, talk), lambda width: [answers.sides_row(width)]
            )
        self.refresh_bindings()

    @property
    def _leave_key(self) -> str:
        return key_name(self.app, type(self), "play-leave")

    @property
    def _again(self) -> str:
        return f"Leave with {self._leave_key} and open it again"

    @property
    def _pane(self) -> Pager:
        return self.query_one("#talk", Pager)

    def _state(self) -> tuple[str, str]:
        if self.talk.failed is not None:
            return "failed", "bad"
        if self.talk.opened is None:
            return "loading", "accent"
        return ("answering", "accent") if self.talk.is_answering else ("ready", "good")

    def disabled_reason(self, action: str) -> str:
        """Why an action can't be done now."""
        if action == "save":
            return "" if self.talk.exchanges else "Send a prompt first: the last one is saved"
        if action == "forget":
            return "" if self.talk.exchanges else "Nothing was said yet"
        if action != "send":
            return ""
        if self.talk.opened is None:
            return "The model is still on its way"
        if self.talk.is_answering:
            return f"Both are still answering: {self._leave_key} stops them"
        return self.query_one(SettingsRow).wrong

    @on(LineInput.Submitted)
    def _take(self, typed: LineInput.Submitted) -> None:
        prompt = self.query_one("#prompt", LineInput)
        if typed.input is not prompt:
            prompt.focus()
        elif reason := self.disabled_reason("send"):
            self.notify(reason, markup=False)
        elif typed.value.strip():
            self._send(typed.value.strip())
            prompt.value = ""

    def _send(self, prompt: str) -> None:
        """Ask both sides, as soon as the engine looks."""
        row = self.query_one(SettingsRow)
        self._num_prompts += 1
        self.talk = self.talk.prompted(self._num_prompts, prompt)
        self._pane.action_move(_FAR)
        self._tell(*self.talk.prompts(row.settings, row.system))
        self._show()

    def _tell(self, *commands: Command) -> None:
        try:
            for command in commands:
                assert self._played is not None
                self._played.send(command)
        except OSError as error:
            self._fail(Failed(phase="asking", error=str(error), hint=self._again, log=""))

    @on(LineInput.Left)
    def action_leave(self) -> None:
        """Stop the answers that are under way; leave where there are none."""
        if self.talk.is_answering:
            self._tell(Stop())
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        """Save the prompt that was sent last where recipes can take it from."""
        try:
            is_new = saved_prompts.save(self.talk.last_prompt)
        except (OSError, ValueError) as error:
            text = f"{sanitize_path(saved_prompts.path())}: {sanitize_line(error)}"
            self.notify(text, title="Not saved", severity="error", markup=False)
            return
        text = f"Paste it into a recipe from {sanitize_path(saved_prompts.path())}"
        title = "Saved as a test prompt" if is_new else "It was saved before"
        self.notify(text, title=title, markup=False)

    def action_forget(self) -> None:
        """A new talk; answers that are under way are stopped."""
        if self.talk.is_answering:
            self._tell(Stop())
        self.talk = self.talk.forgotten()
        self._show()

    def action_move(self, by: int) -> None:
        """Move through the talk."""
        self._pane.action_move(by)

    def action_page(self, by: int) -> None:
        """Move through the talk by what is seen of it."""
        self._pane.action_move_page(by)
