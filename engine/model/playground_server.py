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
    """Takes prompts one after the other; wishes are heard between tokens."""

    def __init__(self, adapted: AdapterSwitch, log: EventLog) -> None:
        self._adapted, self._log = adapted, log
        self._waiting: list[Asked] = []
        self._speaking: list[TokenStream] = []

    def serve(self, wishes: Tail) -> None:
        """Answer until the end is asked for."""
        while self.hear(wishes):
            if not (self._speaking or self._waiting):
                time.sleep(_POLL_S)
            self.go_on()

    def hear(self, wishes: Tail) -> bool:
        """Take what was asked since; False where the end was."""
        for wish in map(playground.decode, wishes.read_new()):
            if isinstance(wish, End):
                return False
            if isinstance(wish, Stop):
                self._stop()
            elif wish is not None:
                self._waiting.append(wish)
        return True

    def go_on(self) -> None:
        """A token of each answer that is under way, or of the next ones."""
        if not self._speaking and self._waiting:
            self._begin()
        for speech in self._speaking:
            self._step(speech)
        self._speaking = [speech for speech in self._speaking if not speech.reason]

    def _begin(self) -> None:
        """Take up the next prompt, as far as it was asked."""
        now = [asked for asked in self._waiting if asked.id == self._waiting[0].id]
        self._waiting = self._waiting[len(now) :]
        for asked in now:
            try:
                self._speaking.append(TokenStream(asked, self._adapted))
            except Exception as error:
                self._log.append(_unanswered(asked, "failed", _told(error)))

    def _step(self, speech: TokenStream) -> None:
        try:
            self._tell(speech, speech.step())
        except Exception as error:
            # A talk that is too long for the memory must not end those to come.
            self._tell(speech, speech.end("failed"), _told(error))

    def _stop(self) -> None:
        for speech in self._speaking:
            self._tell(speech, speech.end("stopped"))
        for asked in self._waiting:
            self._log.append(_unanswered(asked, "stopped"))
        self._speaking, self._waiting = [], []

    def _tell(self, speech: TokenStream, text: str, error: str | None = None) -> None:
        number, side, tokens = speech.asked.id, speech.asked.side, speech.tokens
        seconds = round(speech.seconds, 4)
        if text:
            self._log.append(Piece(id=number, side=side, text=text, tokens=tokens, seconds=seconds))
        if speech.reason:
            told = Answered(
                id=number,
                side=side,
                prompt_tokens=speech.prompt_tokens,
                tokens=tokens,
                seconds=seconds,
                reason=speech.reason,
                error=error,
            )
            self._log.append(told)


def _told(error: Exception) -> str:
    traceback.print_exc()
    return f"{type(error).__name__}: {error}"


def _unanswered(asked: Asked, reason: str, error: str | None = None) -> Answered:
    return Answered(
        id=asked.id,
        side=asked.side,
        prompt_tokens=0,
        tokens=0,
        seconds=0.0,
        reason=reason,
        error=error,
    )
