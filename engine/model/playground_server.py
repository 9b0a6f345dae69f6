"""Where a playground's prompts are answered: the sides of one prompt in turns, a token each."""

import time
import traceback

from engine.events import Answered, Piece
from engine.model.adapter_switch import AdapterSwitch
from engine.model.token_stream import TokenStream
from engine.run.event_log import EventLog
from engine.run.tail import Tail
from engine.sessions import playground
from engine.sessions.playground import Asked, End, Stop

_POLL_S = 0.02


class Desk:
    """Takes prompts one after the other; commands are heard between tokens."""

    def __init__(self, switch: AdapterSwitch, log: EventLog) -> None:
        self._switch, self._log = switch, log
        self._waiting: list[Asked] = []
        self._streams: list[TokenStream] = []

    def serve(self, commands: Tail) -> None:
        """Answer until the end is asked for."""
        while self.hear(commands):
            if not (self._streams or self._waiting):
                time.sleep(_POLL_S)
            self.go_on()

    def hear(self, commands: Tail) -> bool:
        """Take the commands that came since; False where one was the end."""
        for command in map(playground.decode, commands.read_new()):
            if isinstance(command, End):
                return False
            if isinstance(command, Stop):
                self._stop()
            elif command is not None:
                self._waiting.append(command)
        return True

    def go_on(self) -> None:
        """Make a token of each answer that is under way, or of the next ones."""
        if not self._streams and self._waiting:
            self._begin()
        for stream in self._streams:
            self._step(stream)
        self._streams = [stream for stream in self._streams if not stream.reason]

    def _begin(self) -> None:
        """Begin the answers to the next prompt, of each side that was asked so far."""
        prompt = [asked for asked in self._waiting if asked.id == self._waiting[0].id]
        self._waiting = self._waiting[len(prompt) :]
        for asked in prompt:
            try:
                self._streams.append(TokenStream(asked, self._switch))
            except Exception as error:
                self._log.append(_answered(asked, "failed", _logged(error)))

    def _step(self, stream: TokenStream) -> None:
        try:
            self._report(stream, stream.step())
        except Exception as error:
            # A conversation that is too long for the memory must not end those to come.
            self._report(stream, stream.end("failed"), _logged(error))

    def _stop(self) -> None:
        for stream in self._streams:
            self._report(stream, stream.end("stopped"))
        for asked in self._waiting:
            self._log.append(_answered(asked, "stopped"))
        self._streams, self._waiting = [], []

    def _report(self, stream: TokenStream, text: str, error: str | None = None) -> None:
        """Log new text of an answer, and its end where that has come."""
        asked, tokens, seconds = stream.asked, stream.tokens, round(stream.seconds, 4)
        if text:
            self._log.append(
                Piece(id=asked.id, side=asked.side, text=text, tokens=tokens, seconds=seconds)
            )
        if stream.reason:
            self._log.append(
                _answered(asked, stream.reason, error, stream.prompt_tokens, tokens, seconds)
            )


def _logged(error: Exception) -> str:
    """What went wrong, for the event; the log of the engine gets the traceback."""
    traceback.print_exc()
    return f"{type(error).__name__}: {error}"


def _answered(
    asked: Asked,
    reason: str,
    error: str | None = None,
    prompt_tokens: int = 0,
    tokens: int = 0,
    seconds: float = 0.0,
) -> Answered:
    return Answered(
        id=asked.id,
        side=asked.side,
        prompt_tokens=prompt_tokens,
        tokens=tokens,
        seconds=seconds,
        reason=reason,
        error=error,
    )
