"""Keys one at a time: what the first one does is done before the second one is looked at.

Over a slow line keys arrive in one packet. Textual hands all of them to what has the focus then, so
that of `/s` the s would start a run instead of being searched for.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message

_PATIENCE_S = 0.5
"""After that a key is taken for done: the widget that had it may be gone."""
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
            key = self._waiting.popleft()
            target = self._app.focused or self._app.screen
            await self._handle(key)
            if key.is_forwarded and target.post_message(KeyPassed(key)):
                self._at_work = key
                self._app.set_timer(_PATIENCE_S, partial(self._let_go, key))
                return
