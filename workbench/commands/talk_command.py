"""`gemma-bench talk`: a run's adapter answers, and its base where both are asked for."""

import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from types import FrameType

from engine.events import Failed
from engine.problems import ExitCode, Problem, Refusal
from engine.run import adapters, runs
from engine.run.rundir import RunDir
from engine.sessions.playground import SIDES, Settings, Side, Stop
from workbench.commands import options
from workbench.commands.status_line import StatusLine
from workbench.sessions import engine_session, sampling
from workbench.sessions.chat import Chat, Exchange
from workbench.sessions.engine_session import Playground
from workbench.text.sanitize import as_json, sanitize_line

EXAMPLES = """\
  gemma-bench talk                           with the newest run, on a prompt line
  gemma-bench talk 2026-01-02-0900 --both    the base beside it
  echo 'Who founded the Kushan Empire?' | gemma-bench talk
  gemma-bench talk --json < prompts.txt | jq -r .adapter"""
_POLL_S = 0.02
_NEW = "/new"
"""Typed on the prompt line, it begins another talk."""


def add_arguments(parser: ArgumentParser) -> None:
    """A run, who answers, and how."""
    parser.add_argument(
        "run_name", metavar="RUN", nargs="?", help="a run's name or path (default: the newest)"
    )
    parser.add_argument("--both", action="store_true", help="the base answers too")
    parser.add_argument(
        "--adapter", metavar="NAME", default="", help="as checkpoints/step-000200 (default: newest)"
    )
    parser.add_argument("--system", metavar="TEXT", default="", help="a system prompt")
    for key in sampling.KEYS:
        default = sampling.DEFAULTS[key.name]
        help = f"{key.tells} (default: {default})"
        parser.add_argument(_flag(key.name), metavar="N", default=default, help=help)
    options.add_json(parser, "one JSON object per prompt")


def run(arguments: Namespace) -> int:
    """Answer each line of the input; exit code 1 where an answer failed. Raises `Refusal`."""
    texts = {key.name: getattr(arguments, key.name) for key in sampling.KEYS}
    if wrong := sampling.problems_of(texts):
        fix = "Give another, or leave it out"
        problems = [Problem(_flag(key), texts[key], reason, fix) for key, reason in wrong.items()]
        raise Refusal("talk", problems)
    if sys.stdin is None:  # closed by whoever started this
        raise _no_prompt()
    with_adapter = run_with_adapter(arguments.run_name)
    adapters.find(with_adapter, arguments.adapter)
    sides = SIDES if arguments.both else (Side.ADAPTER,)
    is_typed = sys.stdin.isatty() and not arguments.json
    with closing(engine_session.start_playground(with_adapter, arguments.adapter)) as played:
        talk = Talk(played, Chat(sides=sides), sampling.settings_of(texts), arguments.system)
        try:
            talk.open()
            return _typed(talk) if is_typed else _piped(talk, is_json=arguments.json)
        except _EngineFailedError as failure:
            print(f"gemma-bench: {failure}", file=sys.stderr)
            return ExitCode.FAILED
        except KeyboardInterrupt:
            return ExitCode.INTERRUPTED


def _no_prompt() -> Refusal:
    fix = "Write one a line: echo 'Hello!' | gemma-bench talk, or talk on a terminal"
    return Refusal.of("talk", "stdin has no prompt", fix)


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def run_with_adapter(name: str | None) -> RunDir:
    """The run that is named, or the newest that has an adapter. Raises `Refusal`."""
    if name is None:
        with_adapter = (run for run in runs.every() if adapters.newest(run))
        return next(with_adapter, None) or runs.find(None)
    return runs.find(name)


class _EngineFailedError(Exception):
    """The engine can answer no more."""


@dataclass(slots=True)
class Talk:
    """Prompts to one engine, one after the other."""

    played: Playground
    chat: Chat
    settings: Settings
    system: str
    _num_prompts: int = 0
    _status: StatusLine = field(default_factory=StatusLine)

    def open(self) -> None:
        """Wait until the model is loaded."""
        while self.chat.opened is None:
            self._status.show(self.played.phase)
            self.listen()
        self._status.show("")

    def ask(self, prompt: str) -> None:
        """Send a prompt to the sides that answer."""
        self._num_prompts += 1
        self.chat = self.chat.prompted(self._num_prompts, prompt)
        for side in self.chat.prompts(self.settings, self.system):
            self.played.send(side)

    @property
    def exchange(self) -> Exchange:
        """The last prompt with its answers so far."""
        return self.chat.exchanges[-1]

    def forget(self) -> None:
        """Begin another talk."""
        self.chat = self.chat.forgotten()

    def listen(self) -> None:
        """Take what the engine told. Raises `_EngineFailedError` where it is gone."""
        death = self.played.death
        news = self.played.new_events()
        self.chat = self.chat.fold(news)
        if self.chat.failed or (death and not news):
            raise _EngineFailedError(_failure(self.chat.failed, death, self.played.log_tail()))
        time.sleep(0 if news else _POLL_S)


def _failure(failed: Failed | None, death: str, log: list[str]) -> str:
    if failed is None:
        return sanitize_line(": ".join([f"the engine {death}", *filter(None, log[-1:])]), 500)
    return sanitize_line(f"while {failed.phase}: {failed.error}. {failed.hint}", 500)


def _piped(talk: Talk, *, is_json: bool) -> int:
    """Answer each line by itself; silence is told beside the answers. Raises `Refusal`."""
    has_failed = False
    for line in sys.stdin:
        if not (prompt := line.strip()):
            continue
        talk.forget()
        talk.ask(prompt)
        while not talk.exchange.is_over:
            talk.listen()
        exchange = talk.exchange
        print(_record(exchange) if is_json else _text(exchange), flush=True)
        has_failed |= any(exchange.reply(side).error for side in exchange.sides)
        for remark in remarks(exchange):
            print(f"gemma-bench: {remark}", file=sys.stderr)
    if not talk.chat.exchanges:
        raise _no_prompt()
    return ExitCode.FAILED if has_failed else ExitCode.DONE


def remarks(exchange: Exchange) -> Iterator[str]:
    """What went wrong with answers, or that they are empty."""
    for side in exchange.sides:
        reply = exchange.reply(side)
        if reply.error:
            yield f"{side}: {sanitize_line(reply.error, 500)}"
        elif not reply.said:
            yield f"{side} says nothing to {sanitize_line(exchange.prompt, 60)!r} [{reply.reason}]"


def _text(exchange: Exchange) -> str:
    said = [(side, exchange.reply(side).said) for side in exchange.sides]
    return said[0][1] if len(said) == 1 else "\n".join(f"{side}: {text}" for side, text in said)


def _record(exchange: Exchange) -> str:
    replies = {side.value: exchange.reply(side) for side in exchange.sides}
    return as_json(
        {
            "prompt": exchange.prompt,
            **{side: reply.said for side, reply in replies.items()},
            "tokens": {side: reply.tokens for side, reply in replies.items()},
            "reasons": {side: reply.reason for side, reply in replies.items()},
        }
    )


def _typed(talk: Talk) -> int:
    """A prompt line, whose talk goes on; Ctrl-C stops an answer, and leaves where there is none."""
    with suppress(ImportError):
        import readline  # noqa: F401  keys of the prompt line

    print(f"Ctrl-D leaves, Ctrl-C stops an answer, {_NEW} forgets what was said")
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            prompt = input("> ").strip()
            if prompt == _NEW:
                talk.forget()
            elif prompt:
                _stream(talk, prompt)
    print()
    return ExitCode.DONE


def _stream(talk: Talk, prompt: str) -> None:
    """Print the answers as they come, one side below the other."""
    talk.ask(prompt)
    stop, streamed = _StopKey(), _Streamed()
    previous = signal.signal(signal.SIGINT, stop.press)
    try:
        while True:
            streamed.show(talk.exchange)
            if talk.exchange.is_over:
                return
            if stop.is_new():
                talk.played.send(Stop())
            talk.listen()
    finally:
        signal.signal(signal.SIGINT, previous)


class _StopKey:
    """Ctrl-C while an answer comes: kept until it is looked at, so that no event is lost for it."""

    _presses = _presses_before = 0

    def press(self, number: int, frame: FrameType | None) -> None:
        """Note it; a second one leaves at once."""
        self._presses += 1
        if self._presses > 1:
            raise KeyboardInterrupt

    def is_new(self) -> bool:
        """Whether it was pressed since the last call."""
        is_new = self._presses > self._presses_before
        self._presses_before = self._presses
        return is_new


class _Streamed:
    """What of an exchange stands on the terminal."""

    _place = _length = 0

    def show(self, exchange: Exchange) -> None:
        """Print what is new of the side that is on, and of those after it once it is over."""
        for side in exchange.sides[self._place :]:
            reply, lead = exchange.reply(side), ""
            text = reply.text.lstrip()
            if not self._length and text and len(exchange.sides) > 1:
                lead = f"{side}: "
            print(lead + text[self._length :], end="", flush=True)
            self._length = len(text)
            if not reply.reason:
                return
            print(f" [{reply.reason}]" if reply.reason != "stop" else "")
            if reply.error:
                print(f"  {sanitize_line(reply.error, 500)}")
            self._place, self._length = self._place + 1, 0
