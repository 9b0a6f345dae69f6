"""An engine that works for one viewer ends with it."""

import os
import signal
import sys
import threading
import time

from engine.sessions.session_dir import PreviewDir

_WATCH_S = 0.5
_GRACE_S = 5.0


def end_with_viewer(files: PreviewDir) -> None:
    """Raise `SystemExit` in the main thread on SIGTERM, which comes too once the viewer is gone."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=_watch, args=(files,), daemon=True).start()


def _watch(files: PreviewDir) -> None:
    """End the process once its viewer is gone, at the latest a while after it was told to."""
    while files.has_viewer():
        time.sleep(_WATCH_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    files.remove()
    os._exit(1)
