"""The loop of an engine that works for one viewer, and ends with it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from engine.run.control import RunControl
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from engine.sessions.session_dir import SessionDir, sweep

_POLL_S = 0.02
_WATCH_S = 0.5
_GRACE_S = 5.0


class Server(Protocol):
    """What answers a session's commands."""

    def hear(self, line: bytes) -> bool:
        """Take a line of control.jsonl; False where it asks for the end."""

    def go_on(self) -> bool:
        """Do the next piece of work; False where there is none."""


def serve(run: RunDir, control: RunControl, start: Callable[[SessionDir], Server]) -> NoReturn:
    """Start a server and let it answer until its viewer asks for the end, or is gone."""
    session = SessionDir(run.path)
    _end_with_viewer(session)
    try:
        if not control.stopped_by:
            sweep(session)
            answer(start(session), session.wishes())
    except SystemExit:
        pass
    finally:
        if not session.has_viewer():
            session.remove()
    # The libraries take a second to be taken down, for which a viewer that closes would wait.
    os._exit(0)


def answer(server: Server, commands: Tail) -> None:
    """Answer until the end is asked for; commands are heard between two pieces of work."""
    while all(map(server.hear, commands.read_new())):
        if not server.go_on():
            time.sleep(_POLL_S)


def _end_with_viewer(session: SessionDir) -> None:
    """Raise `SystemExit` in the main thread on SIGTERM, which comes too once the viewer is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=_watch, args=(session,), daemon=True).start()


def _watch(session: SessionDir) -> None:
    """End the process once its viewer is gone, at the latest a while after it was told to."""
    while session.has_viewer():
        time.sleep(_WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    session.remove()
    os._exit(1)
