"""Where a playground's prompts are answered: the sides of one prompt in turns, a token each."""

import traceback

from engine.events import Answered, Piece
from engine.model.adapter_switch import AdapterSwitch
from engine.model.answers.token_stream import TokenStream
from engine.run.event_log import EventLog
from engine.sessions import playground
from engine.sessions.playground import End, Prompt, Stop


class PlaygroundServer:
    """Takes prompts one after the other; commands are heard between tokens."""

    def __init__(self, switch: AdapterSwitch, log: EventLog) -> None:
        self._switch, self._log = switch, log
        self._waiting: list[Prompt] = []
        self._streams: list[TokenStream] = []

    def hear(self, line: bytes) -> bool:
        """Take a command; False where it is the end."""
        command = playground.decode(line)
        if isinstance(command, Stop):
            self._stop()
        elif isinstance(command, Prompt):
            self._waiting.append(command)
        return not isinstance(command, End)

    def go_on(self) -> bool:
        """Make a token of each answer under way, or of the next ones; False where none is left."""
        if not self._streams and self._waiting:
            self._begin()
        for stream in self._streams:
            self._step(stream)
        self._streams = [stream for stream in self._streams if not stream.reason]
        return bool(self._streams or self._waiting)

    def _begin(self) -> None:
        """Begin the answers to the next prompt, of each side that was asked so far."""
        prompts = [prompt for prompt in self._waiting if prompt.id == self._waiting[0].id]
        self._waiting = self._waiting[len(prompts) :]
        for prompt in prompts:
            try:
                self._streams.append(TokenStream(prompt, self._switch))
            except Exception as error:
                self._log.append(_answered(prompt, "failed", _logged(error)))

    def _step(self, stream: TokenStream) -> None:
        try:
            self._report(stream, stream.step())
        except Exception as error:
            # A conversation that is too long for the memory must not end those to come.
            self._report(stream, stream.end("failed"), _logged(error))

    def _stop(self) -> None:
        for stream in self._streams:
            self._report(stream, stream.end("stopped"))
        for prompt in self._waiting:
            self._log.append(_answered(prompt, "stopped"))
        self._streams, self._waiting = [], []

    def _report(self, stream: TokenStream, text: str, error: str | None = None) -> None:
        """Log new text of an answer, and its end where that has come."""
        prompt, tokens, seconds = stream.prompt, stream.tokens, round(stream.seconds, 4)
        if text:
            self._log.append(
                Piece(id=prompt.id, side=prompt.side, text=text, tokens=tokens, seconds=seconds)
            )
        if stream.reason:
            self._log.append(
                _answered(prompt, stream.reason, error, stream.prompt_tokens, tokens, seconds)
            )


def _logged(error: Exception) -> str:
    """What went wrong, for the event; the log of the engine gets the traceback."""
    traceback.print_exc()
    return f"{type(error).__name__}: {error}"


def _answered(
    prompt: Prompt,
    reason: str,
    error: str | None = None,
    prompt_tokens: int = 0,
    tokens: int = 0,
    seconds: float = 0.0,
) -> Answered:
    return Answered(
        id=prompt.id,
        side=prompt.side,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        seconds=seconds,
        reason=reason,
        error=error,
    )
