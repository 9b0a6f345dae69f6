"""Something done at most once in a while, and always once more after it was last wanted."""

import time
from collections.abc import Callable

from textual.message_pump import MessagePump


class Throttle:
    """Spares what costs much and changes little, such as the curves of a run at work."""

    def __init__(self, owner: MessagePump, every_s: float, do: Callable[[], None]) -> None:
        self._owner, self._every_s, self._do = owner, every_s, do
        self._done_at = -every_s
        self._is_due = False

    def want(self, *, at_once: bool = False) -> None:
        """Do it now, or as soon as the while is over."""
        if self._is_due and not at_once:
            return
        left_s = self._done_at + self._every_s - time.monotonic()
        if at_once or left_s <= 0:
            self._now()
        else:
            self._is_due = True
            self._owner.set_timer(left_s, self._in_time)

    def _in_time(self) -> None:
        if self._is_due:
            self._now()

    def _now(self) -> None:
        self._is_due, self._done_at = False, time.monotonic()
        self._do()
