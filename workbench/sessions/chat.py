"""A talk with base and adapter, as a pure fold of its engine's events; no screen is known here."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from engine.events import Answered, Event, Failed, Hello, Opened, Phase, Piece
from engine.sessions.playground import SIDES, Message, Prompt, Settings, Side


@dataclass(frozen=True, slots=True)
class Reply:
    """What one side has said to a prompt so far."""

    text: str = ""
    tokens: int = 0
    seconds: float = 0.0
    reason: str = ""
    """Why it is over; empty while it goes on."""
    error: str = ""

    @property
    def tokens_per_s(self) -> float | None:
        """None before the first token."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None

    @property
    def said(self) -> str:
        """The words alone."""
        return self.text.strip()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and its answers."""

    id: int
    prompt: str
    base: Reply = Reply()
    adapter: Reply = Reply()
    sides: tuple[Side, ...] = SIDES
    """Who was asked."""

    def reply(self, side: str) -> Reply:
        """The answer of a side."""
        return self.base if side == "base" else self.adapter

    @property
    def is_over(self) -> bool:
        """Whether every side that was asked has ended."""
        return all(self.reply(side).reason for side in self.sides)


@dataclass(frozen=True, slots=True)
class Chat:
    """Everything a screen may show of a playground."""

    is_started: bool = False
    """Whether the engine has spoken."""
    phase: Phase | None = None
    opened: Opened | None = None
    failed: Failed | None = None
    exchanges: tuple[Exchange, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    """Tokens per second of each side's latest answer."""
    sides: tuple[Side, ...] = SIDES
    """Who is asked."""

    def fold(self, events: Iterable[Event]) -> "Chat":
        """The talk after more events."""
        talk = self
        for event in events:
            talk = talk._with(event)
        return talk

    def _with(self, event: Event) -> "Chat":
        match event:
            case Hello():
                return replace(self, is_started=True)
            case Phase():
                return replace(self, phase=event)
            case Opened():
                return replace(self, opened=event)
            case Failed():
                return replace(self, failed=event)
            case Piece():
                return self._replied(event, event.text)
            case Answered():
                return self._replied(event, "", event.reason, event.error or "")
        return self

    def _replied(
        self, event: Piece | Answered, text: str, reason: str = "", error: str = ""
    ) -> "Chat":
        """More of an answer; one to a prompt that is forgotten goes nowhere."""
        place = next((i for i, one in enumerate(self.exchanges) if one.id == event.id), None)
        if place is None or event.side not in SIDES:
            return self
        exchange = self.exchanges[place]
        whole = exchange.reply(event.side).text + text
        reply = Reply(whole, event.tokens, event.seconds, reason, error)
        changed = _with_reply(exchange, event.side, reply)
        rate = reply.tokens_per_s
        return replace(
            self,
            exchanges=(*self.exchanges[:place], changed, *self.exchanges[place + 1 :]),
            rates={**self.rates, event.side: rate} if rate else self.rates,
        )

    def ended(self, failed: Failed) -> "Chat":
        """The engine is gone; answers under way stay as far as they came."""
        return replace(self, failed=self.failed or failed)

    def prompted(self, number: int, prompt: str) -> "Chat":
        """A prompt was sent."""
        exchange = Exchange(number, prompt, sides=self.sides)
        return replace(self, exchanges=(*self.exchanges, exchange))

    def forgotten(self) -> "Chat":
        """A new talk on the same engine."""
        return replace(self, exchanges=())

    @property
    def is_answering(self) -> bool:
        """Whether an answer is under way."""
        return self.failed is None and any(not one.is_over for one in self.exchanges)

    @property
    def last_prompt(self) -> str:
        """The prompt that was sent last; empty before the first."""
        return self.exchanges[-1].prompt if self.exchanges else ""

    def prompts(self, settings: Settings, system: str) -> list[Prompt]:
        """The last prompt for the engine: each side goes on with its own answers."""
        last = self.exchanges[-1]
        return [
            Prompt(last.id, side, self._messages(side, system), settings) for side in self.sides
        ]

    def _messages(self, side: str, system: str) -> tuple[Message, ...]:
        """The talk as one side remembers it; prompts that it said nothing to are left out."""
        messages: list[Message] = [("system", system.strip())] if system.strip() else []
        *earlier, last = self.exchanges
        for exchange in earlier:
            said = exchange.reply(side).said
            if said:
                messages += [("user", exchange.prompt), ("assistant", said)]
        return (*messages, ("user", last.prompt))


def _with_reply(exchange: Exchange, side: str, reply: Reply) -> Exchange:
    return replace(exchange, base=reply) if side == "base" else replace(exchange, adapter=reply)
