"""The engine behind the preview screen: started before it is asked for, and again where it died."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from engine.problems import Refusal

if TYPE_CHECKING:
    from engine.recipe.schema import Recipe
    from engine.sessions.preview import Reply
    from workbench.sessions.engine_session import Preview

_POLL_S = 0.05


def _start() -> Preview:
    from workbench.sessions import engine_session

    return engine_session.start_preview()


class PrestartedPreview:
    """At most one engine. A thread may start it while the app asks."""

    def __init__(self, engine: Callable[[], Preview] = _start) -> None:
        self._start_engine = engine
        self._lock = threading.Lock()
        self._preview: Preview | None = None
        self._is_over = False

    @property
    def phase(self) -> str:
        """What the engine is at, in its words."""
        preview = self._preview
        return preview.phase if preview else "starting"

    @property
    def is_waiting(self) -> bool:
        """Whether the last question has no reply yet."""
        preview = self._preview
        return preview is not None and preview.is_waiting

    def start(self) -> None:
        """Start the engine; what keeps it from starting is told to whoever asks it."""
        with self._lock, suppress(Refusal, OSError):
            if not self._is_over:
                self._running()

    def ask(self, recipe: Recipe, rows: int, first: int) -> None:
        """Ask for rows in a line. Raises `Refusal` and `OSError`."""
        with self._lock:
            self._running().ask(recipe, rows=rows, first=first)

    def answer_to(self, recipe: Recipe, is_wanted: Callable[[], bool]) -> Reply | None:
        """The reply about one row, which a thread waits for; None where it is no longer wanted.

        Raises `Refusal` and `OSError`.
        """
        self.ask(recipe, 1, 0)
        while is_wanted() and self.is_waiting:
            reply = self.poll()
            if reply is not None:
                return reply
            time.sleep(_POLL_S)
        return None

    def poll(self) -> Reply | None:
        """The reply to the last question, once."""
        preview = self._preview
        return preview.poll() if preview else None

    def stop(self) -> None:
        """End the engine until it is needed again: a run has use for its memory."""
        with self._lock:
            self._end()

    def close(self) -> None:
        """End the engine for good."""
        with self._lock:
            self._is_over = True
            self._end()

    def _running(self) -> Preview:
        if self._preview is not None and not self._preview.is_alive:
            self._end()
        if self._preview is None:
            self._preview = self._start_engine()
        return self._preview

    def _end(self) -> None:
        preview, self._preview = self._preview, None
        if preview is not None:
            preview.close()
