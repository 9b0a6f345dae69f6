"""Keys one at a time: what the first one does is done before the second one is looked at.

Over a slow line keys arrive in one packet. Textual hands all of them to what has the focus then, so
that of `/s` the s would start a run instead of being searched for.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import takewhile
from typing import Any

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message

_LOOK_EVERY_S = 0.5
"""How often a key that takes long is looked after: what had it may be gone, and tells nobody."""
_PATIENCE_S = 10.0
"""After that a key is taken for done, or a widget that hangs would leave no key to end the app."""
_FLOOD_KEYS = 64
"""From so many characters on nobody types: they were pasted, though the terminal did not say so."""
Handle = Callable[[events.Event], Awaitable[None]]


class KeyPassed(Message, bubble=True):
    """Follows a key through every queue on its way up to the app."""

    def __init__(self, key: events.Key) -> None:
        super().__init__()
        self.key = key


class KeyQueue:
    """The keys that wait for the one at work; `handle` is what the app does with a key."""

    def __init__(self, app: App[Any], handle: Handle) -> None:
        self._app, self._handle = app, handle
        self._waiting: deque[events.Key] = deque()
        self._at_work: events.Key | None = None

    async def add(self, key: events.Key) -> None:
        """Take a key, now or in its turn."""
        self._waiting.append(key)
        if self._at_work is None:
            await self._go_on()

    def passed(self, key: events.Key) -> None:
        """A key went all the way; what it asked of the app, as another focus, comes first."""
        self._app.call_later(self._let_go, key)

    async def _let_go(self, key: events.Key) -> None:
        if self._at_work is key:
            self._at_work = None
            await self._go_on()

    async def _go_on(self) -> None:
        while self._waiting and self._at_work is None:
            target = self._app.focused or self._app.screen
            key = self._waiting[0]
            typed = [*takewhile(lambda key: key.is_printable, self._waiting)]
            is_flood = len(typed) >= _FLOOD_KEYS
            for _ in typed if is_flood else (key,):
                self._waiting.popleft()
            if is_flood:
                self._paste("".join(key.character or "" for key in typed), target)
            else:
                await self._handle(key)
            if (is_flood or key.is_forwarded) and target.post_message(KeyPassed(key)):
                self._at_work = key
                self._look_after(key, target, time.monotonic() + _PATIENCE_S)
                return

    def _look_after(self, key: events.Key, target: DOMNode, deadline_s: float) -> None:
        look = partial(self._let_go_of_lost, key, target, deadline_s)
        self._app.set_timer(_LOOK_EVERY_S, look)

    async def _let_go_of_lost(self, key: events.Key, target: DOMNode, deadline_s: float) -> None:
        """Under load the first key may take seconds, and the next one still has to wait for it."""
        if not target.is_attached or time.monotonic() > deadline_s:
            await self._let_go(key)
        elif self._at_work is key:
            self._look_after(key, target, deadline_s)

    def _paste(self, text: str, target: DOMNode) -> None:
        """Put it into a line at once; where there is none, its letters are not taken for keys."""
        from textual.widgets import Input  # the first paint needs none

        if isinstance(target, Input):
            target.post_message(events.Paste(text))
        else:
            words = (
                f"{len(text):,} pasted characters were left out: no line to type in has the focus"
            )
            self._app.notify(words, markup=False)
